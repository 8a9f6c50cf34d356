#include "core/ratio.h"

#include <catch2/catch.hpp>

namespace sl {
namespace {

TEST_CASE("division rounds towards minus infinity", "[ratio]") {
  for (int64_t b = 1; b <= 5; ++b) {
    for (int64_t a = -12; a <= 12; ++a) {
      const int64_t quotient = floor_div(a, b), rest = floor_mod(a, b);
      CHECK(quotient * b + rest == a);
      CHECK((rest >= 0 && rest < b));
      CHECK(ceil_div(a, b) == quotient + (rest > 0 ? 1 : 0));
    }
  }
}

TEST_CASE("rounding up to a multiple", "[ratio]") {
  CHECK(round_up(0, 4) == 0);
  CHECK(round_up(1, 4) == 4);
  CHECK(round_up(4, 4) == 4);
  CHECK(round_up(5, 4) == 8);
  CHECK(round_up(-1, 4) == 0);
}

TEST_CASE("ratios are kept in lowest terms", "[ratio]") {
  CHECK(Ratio(6, 4) == Ratio(3, 2));
  CHECK(Ratio(6, 4).numerator() == 3);
  CHECK(Ratio(6, 4).denominator() == 2);
  CHECK(Ratio() == Ratio(1));
  CHECK(Ratio(2, 3) != Ratio(3, 2));
  CHECK(Ratio(2, 3).inverse() == Ratio(3, 2));
}

TEST_CASE("ratios multiply exactly", "[ratio]") {
  CHECK(Ratio(2, 3) * Ratio(3, 2) == Ratio(1));
  CHECK(Ratio(1, 3) * Ratio(1, 4) == Ratio(1, 12));
  Ratio product;
  for (int i = 1; i <= 20; ++i) product = product * Ratio(i, i + 1);
  CHECK(product == Ratio(1, 21));
}

TEST_CASE("steps times a ratio, rounded down and up", "[ratio]") {
  CHECK(Ratio(2, 3).floor_times(4) == 2);
  CHECK(Ratio(2, 3).ceil_times(4) == 3);
  CHECK(Ratio(2, 3).floor_times(6) == 4);
  CHECK(Ratio(2, 3).ceil_times(6) == 4);
  CHECK(Ratio(1, 2).floor_times(-1) == -1);
  CHECK(Ratio(1, 2).ceil_times(-1) == 0);
}

TEST_CASE("results beyond 64 bits are errors", "[ratio]") {
  constexpr int64_t kLarge = int64_t{1} << 31;
  const Ratio half = Ratio(1, kLarge) * Ratio(1, kLarge);
  CHECK(half.denominator() == int64_t{1} << 62);
  CHECK_THROWS_AS(half * Ratio(1, kLarge), SizeError);
  // The product fits into 64 bits only in lowest terms.
  CHECK(half * Ratio(kLarge) == Ratio(1, kLarge));
  CHECK(Ratio(3, 4).floor_times(int64_t{1} << 62) == 3 * (int64_t{1} << 60));
  CHECK(Ratio(1, 3).ceil_times((int64_t{1} << 62) - 1) == (int64_t{1} << 62) / 3);
  CHECK_THROWS_AS(Ratio(4).floor_times(int64_t{1} << 61), SizeError);
  CHECK_THROWS_AS(checked_lcm((int64_t{1} << 40) - 1, int64_t{1} << 40), SizeError);
  CHECK(checked_lcm(4, 6) == 12);
}

}  // namespace
}  // namespace sl
