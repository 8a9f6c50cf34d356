// Tests the random generator against its definition, and the probabilities of sampled tokens.
#include "model/sampling.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "core/philox.h"

namespace sl {
namespace {

// Known answers published with the definition of the generator.
TEST_CASE("Philox4x32-10 gives the known answers", "[philox]") {
  using Counter = std::array<uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) ==
        Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

int32_t pick(const std::vector<float>& logits, const Sampling& sampling, double uniform) {
  std::vector<Candidate> room(logits.size());
  return draw(logits, sampling, uniform, room);
}

TEST_CASE("logits with NaN, or without a possible token, are detected", "[sampling]") {
  const auto verdict = [](const std::vector<float>& logits) { return check_logits(logits); };
  CHECK(verdict({0, -INFINITY, INFINITY}) == Logits::kGood);
  CHECK(verdict({0, 1, NAN}) == Logits::kNaN);
  CHECK(verdict({NAN, -INFINITY}) == Logits::kNaN);
  CHECK(verdict({INFINITY, -NAN}) == Logits::kNaN);
  CHECK(verdict({-INFINITY, -INFINITY}) == Logits::kNoneLikely);
}

TEST_CASE("top_p keeps the smallest set of tokens that reaches it", "[sampling]") {
  constexpr double kLast = 1 - 0x1p-53;
  const auto kept = [&](const std::vector<float>& logits, float top_p) {
    return pick(logits, {1, top_p, 0}, kLast) + 1;
  };
  const std::vector<float> two = {0, 0}, ten(10, 0.5f);
  CHECK(kept(two, 0.5f) == 1);
  CHECK(kept(two, 0.51f) == 2);
  for (int n = 1; n <= 9; ++n) CHECK(kept(ten, static_cast<float>(n) / 10) == n);
  const std::vector<float> halves = {std::log(0.5f), std::log(0.25f), std::log(0.125f),
                                     std::log(0.125f)};
  CHECK(kept(halves, 0.5f) == 1);
  CHECK(kept(halves, 0.75f) == 2);
  CHECK(kept(halves, 0.875f) == 3);
  CHECK(kept(halves, 0.876f) == 4);
}

// The probability with which each token is drawn.
std::vector<double> probabilities(const std::vector<float>& logits, const Sampling& sampling) {
  constexpr int kDraws = 100000;
  std::vector<double> result(logits.size());
  for (int i = 0; i < kDraws; ++i) {
    const int32_t token = pick(logits, sampling, (i + 0.5) / kDraws);
    result[static_cast<size_t>(token)] += 1.0 / kDraws;
  }
  return result;
}

void check_probabilities(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("token " << i);
    CHECK(got[i] == Approx(want[i]).margin(2e-5));
  }
}

TEST_CASE("the temperature acts before or after tokens are kept", "[sampling]") {
  // Probabilities 0.6, 0.3, 0.1; at temperature 2 in the ratio of their square roots.
  const std::vector<float> logits = {std::log(0.3f), std::log(0.6f), std::log(0.1f)};
  const double a = std::sqrt(0.6), b = std::sqrt(0.3), c = std::sqrt(0.1);
  // At temperature 2 they are 0.47, 0.33 and 0.19: two make 0.8, and all are needed for 0.85.
  check_probabilities(probabilities(logits, {2, 0.85f, 0, false}),
                      {b / (a + b + c), a / (a + b + c), c / (a + b + c)});
  check_probabilities(probabilities(logits, {2, 0.85f, 0, true}), {b / (a + b), a / (a + b), 0});
  // A temperature below 1 makes one token sufficient, but not before it acts.
  check_probabilities(probabilities(logits, {0.5f, 0.75f, 0, false}), {0, 1, 0});
  check_probabilities(probabilities(logits, {0.5f, 0.75f, 0, true}), {0.2, 0.8, 0});
  // Without top_p the order makes no difference.
  for (const bool last : {false, true}) {
    check_probabilities(probabilities(logits, {2, 1, 2, last}), {b / (a + b), a / (a + b), 0});
    check_probabilities(probabilities(logits, {1, 1, 0, last}), {0.3, 0.6, 0.1});
  }
}

TEST_CASE("equally likely tokens are kept together if the temperature acts last", "[sampling]") {
  const std::vector<float> logits = {0, 1, 0, 1, -1, 0};
  const double one = std::exp(1.0), sum = 2 * one + 3;
  const std::vector<double> five = {1 / sum, one / sum, 1 / sum, one / sum, 0, 1 / sum};
  check_probabilities(probabilities(logits, {1, 1, 3, true}), five);
  check_probabilities(probabilities(logits, {1, 1, 1, true}), {0, 0.5, 0, 0.5, 0, 0});
  check_probabilities(probabilities(logits, {1, 0.7f, 0, true}), five);
  check_probabilities(probabilities(logits, {1, 0.3f, 0, true}), {0, 0.5, 0, 0.5, 0, 0});
  // Otherwise the first ones are kept, as many as were asked for.
  check_probabilities(probabilities(logits, {1, 1, 3, false}),
                      {1 / (2 * one + 1), one / (2 * one + 1), 0, one / (2 * one + 1), 0, 0});
  check_probabilities(probabilities(logits, {1, 0.3f, 0, false}), {0, 1, 0, 0, 0, 0});
}

TEST_CASE("infinite logits are handled", "[sampling]") {
  constexpr double kLast = 1 - 0x1p-53;
  for (const Sampling sampling :
       {Sampling{1, 1, 0}, Sampling{1, 0.9f, 0}, Sampling{1, 1, 3}, Sampling{1, 0.9f, 3, true}}) {
    for (const double uniform : {0.0, 0.5, kLast}) {
      CHECK(pick({-INFINITY, 1, -INFINITY, -INFINITY}, sampling, uniform) == 1);
      CHECK(pick({0, 1, INFINITY, -INFINITY}, sampling, uniform) == 2);
    }
  }
  CHECK(most_likely(std::vector<float>{-INFINITY, 1, 2, 2}) == 2);
  CHECK(log_prob(std::vector<float>{-INFINITY, 3}, 1) == 0);
  CHECK(log_prob(std::vector<float>{-INFINITY, 3}, 0) == -INFINITY);
  CHECK(log_prob(std::vector<float>{0, INFINITY}, 1) == 0);
  CHECK(log_prob(std::vector<float>{0, INFINITY}, 0) == -INFINITY);
  CHECK(pick({0, 1e30f, 1}, {1e-30f, 1, 0}, kLast) == 1);
}

}  // namespace
}  // namespace sl
