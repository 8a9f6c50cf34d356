// Fault 26: there was no way to get the final carry of a reversed RNN, for which no stream has a
// state, or those of the RNNs in a Bidirectional.
#include <catch2/catch.hpp>

#include "cli/contract.h"
#include "cli/model.h"
#include "support/models.h"

namespace sl::testing {
namespace {

const Tensor& emit_of(const std::vector<cli::NamedTensor>& emits, const std::string& name) {
  for (const cli::NamedTensor& emit : emits) {
    if (emit.name == name) return emit.value;
  }
  throw std::runtime_error("no emit " + name);
}

std::string rnn(const std::string& fields) {
  return R"({"type":"RNN","return_carry":true,"cell":{"type":"LSTMCell","features":2})" + fields +
         "}";
}

// An input of which only the first kLength steps are valid, and the same with these steps in
// reverse order.
constexpr int64_t kTime = 5, kLength = 3;
Tensor input(bool flipped) {
  Tensor x = cli::make_sequence(SL_DTYPE_FLOAT32, {1, kTime, 2});
  for (int64_t t = 0; t < kTime; ++t) {
    const int64_t from = flipped && t < kLength ? kLength - 1 - t : t;
    for (int64_t c = 0; c < 2; ++c) x.set(2 * t + c, 0.3 * static_cast<double>(2 * from + c) - 1);
    x.mask[static_cast<size_t>(t)] = t < kLength ? 1 : 0;
  }
  return x;
}

std::vector<cli::NamedTensor> emits_of(const std::string& config, bool flipped) {
  const cli::Layer layer = make_model(config, 2);
  cli::Input x;
  x.x = input(flipped);
  std::vector<cli::NamedTensor> emits;
  cli::apply(layer.get(), x, &emits);
  return emits;
}

TEST_CASE("fault 26: a reversed RNN emits its final carry", "[f26]") {
  const auto forward = emits_of(rnn(""), false),
             backward = emits_of(rnn(R"(,"reverse":true)"), true);
  for (const char* name : {"carry.c", "carry.h"}) {
    const Tensor &a = emit_of(forward, name), &b = emit_of(backward, name);
    for (int64_t c = 0; c < 2; ++c) {
      const int64_t last = 2 * (kTime - 1) + c, final_step = 2 * (kLength - 1) + c;
      CHECK(a.at(last).real() == a.at(final_step).real());
      CHECK(a.at(last).real() == b.at(last).real());
      CHECK(a.at(last).real() != 0);
    }
  }
}

TEST_CASE("fault 26: a Bidirectional emits both final carries", "[f26]") {
  const auto emits = emits_of(
      R"({"type":"Bidirectional","forward":)" + rnn("") + R"(,"backward":)" + rnn("") + "}", false);
  CHECK(emits.size() == 4);
}

TEST_CASE("fault 26: streams emit the carries that whole runs do", "[f26]") {
  const cli::Layer layer = make_model(rnn(""), 3);
  std::mt19937 rng(1);
  cli::Case c;
  c.layer = layer.get();
  c.input.x = cli::random_sequence(SL_DTYPE_FLOAT32, {3, 17, 3}, rng);
  CHECK(cli::check_contract(c).failures() == "");
}

}  // namespace
}  // namespace sl::testing
