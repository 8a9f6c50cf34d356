// Fault 26: there was no way to get the final carry of a reversed RNN, for which no stream has a
// state, or those of the RNNs in a Bidirectional.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/contract.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

const Tensor& emit_of(const std::vector<NamedTensor>& emits, const std::string& name) {
  for (const NamedTensor& emit : emits) {
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
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, kTime, 2});
  for (int64_t t = 0; t < kTime; ++t) {
    const int64_t from = flipped && t < kLength ? kLength - 1 - t : t;
    for (int64_t c = 0; c < 2; ++c) x.set(2 * t + c, 0.3 * static_cast<double>(2 * from + c) - 1);
    x.mask[static_cast<size_t>(t)] = t < kLength ? 1 : 0;
  }
  return x;
}

std::vector<NamedTensor> emits_of(const std::string& config, bool flipped) {
  const Layer layer = make_model(config, 2);
  Input x;
  x.x = input(flipped);
  std::vector<NamedTensor> emits;
  apply(layer, x, &emits);
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

TEST_CASE("fault 26: an LSTM layer emits its carry, also within a Bidirectional", "[f26]") {
  const std::string lstm = R"({"type":"LSTM","units":2,"return_carry":true})";
  const auto emits = emits_of(
      R"({"type":"Bidirectional","forward":)" + lstm + R"(,"backward":)" + lstm + "}", false);
  CHECK(emits.size() == 4);
  const auto forward = emits_of(lstm, false);
  const Tensor &c = emit_of(forward, "carry.c"), &h = emit_of(forward, "carry.h");
  const Layer layer = make_model(lstm, 2);
  Input x;
  x.x = input(false);
  const Tensor y = apply(layer, x);
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t t = 0; t < kTime; ++t) {
      const int64_t at = 2 * t + i, last = 2 * std::min(t, kLength - 1) + i;
      CHECK(h.at(at).real() == y.at(last).real());
      CHECK(c.at(at).real() == c.at(last).real());
      CHECK(std::abs(c.at(at).real()) > std::abs(h.at(at).real()));
    }
  }
}

TEST_CASE("fault 26: an RNN over an LSTM that is reversed emits the carry of the flipped sequence",
          "[f26]") {
  const std::string lstm = R"({"type":"LSTM","units":2,"return_carry":true})";
  const std::string over = R"({"type":"RNN","reverse":true,"cell":)" + lstm + "}";
  const auto backward = emits_of(over, true);
  const auto forward = emits_of(R"({"type":"RNN","cell":)" + lstm + "}", false);
  REQUIRE(backward.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    for (int64_t k = 0; k < 2; ++k) {
      const int64_t last = 2 * (kTime - 1) + k;
      CHECK(backward[i].value.at(last).real() == forward[i].value.at(last).real());
      CHECK(forward[i].value.at(last).real() != 0);
    }
  }
}

TEST_CASE("fault 26: return_carry of an RNN over a layer is an error that says what to do",
          "[f26]") {
  const std::string config =
      R"({"type":"RNN","return_carry":true,"cell":{"type":"LSTM","units":2}})";
  sl_layer* layer = nullptr;
  const Failure failure = failure_of([&](sl_error* e) {
    return sl_layer_create(config.data(), config.size(), nullptr, nullptr, &layer, e);
  });
  CHECK(failure.status == SL_STATUS_CONFIG);
  CHECK_THAT(failure.message, Catch::Matchers::Contains("return_carry"));
}

TEST_CASE("fault 26: streams emit the carries that whole runs do", "[f26]") {
  const Layer layer = make_model(rnn(""), 3);
  std::mt19937 rng(1);
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, {3, 17, 3}, rng);
  CHECK(check_contract(c).failures() == "");
}

}  // namespace
}  // namespace sl::testing
