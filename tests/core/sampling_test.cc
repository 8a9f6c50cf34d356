// Tests the random generator against its definition, and sampling from logits that are not finite.
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

TEST_CASE("infinite logits are handled", "[sampling]") {
  constexpr double kLast = 1 - 0x1p-53;
  for (const Sampling sampling : {Sampling{1, 1, 0}, Sampling{1, 0.9f, 0}, Sampling{1, 1, 3}}) {
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
