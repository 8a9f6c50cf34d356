// Exact rational numbers for output ratios, and the integer arithmetic of time that uses them.
#pragma once

#include <compare>
#include <cstdint>
#include <numeric>

#include "core/size.h"

namespace sl {

// Division that rounds towards minus infinity, for a positive divisor.
constexpr int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }
constexpr int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }
constexpr int64_t round_up(int64_t a, int64_t multiple) {
  return checked_product(ceil_div(a, multiple), multiple);
}
constexpr int64_t checked_lcm(int64_t a, int64_t b) {
  return checked_product(a / std::gcd(a, b), b);
}

// A positive fraction in lowest terms.
class Ratio {
 public:
  constexpr Ratio() = default;
  constexpr explicit Ratio(int64_t whole) : Ratio(whole, 1) {}
  constexpr Ratio(int64_t numerator, int64_t denominator) {
    const int64_t divisor = std::gcd(numerator, denominator);
    numerator_ = numerator / divisor;
    denominator_ = denominator / divisor;
  }
  constexpr int64_t numerator() const { return numerator_; }
  constexpr int64_t denominator() const { return denominator_; }
  constexpr Ratio operator*(const Ratio& other) const {
    // Reducing first lets only products overflow that are too large in lowest terms.
    const Ratio a(numerator_, other.denominator_), b(other.numerator_, denominator_);
    return Ratio(checked_product(a.numerator_, b.numerator_),
                 checked_product(a.denominator_, b.denominator_));
  }
  constexpr Ratio inverse() const { return Ratio(denominator_, numerator_); }
  // steps * ratio, rounded down or up.
  constexpr int64_t floor_times(int64_t steps) const {
    // Splits steps = whole * denominator + rest, which keeps intermediate products small.
    const int64_t whole = floor_div(steps, denominator_), rest = floor_mod(steps, denominator_);
    return checked_sum(checked_product(whole, numerator_),
                       floor_div(checked_product(rest, numerator_), denominator_));
  }
  constexpr int64_t ceil_times(int64_t steps) const { return -floor_times(-steps); }
  constexpr bool operator==(const Ratio&) const = default;

 private:
  int64_t numerator_ = 1;
  int64_t denominator_ = 1;
};

}  // namespace sl
