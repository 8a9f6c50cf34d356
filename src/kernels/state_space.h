#pragma once

#include <cstdint>

namespace sl::kernels {

// Channels are scanned side by side in groups of this many, on every instruction set: of a state of
// 64 values, the coefficients of that many stay in the first cache.
constexpr int64_t kBankLanes = 8;

// Linear recurrences of one real input and output each, with complex states of n values: x = a x +
// u, or of rank one x = a x + r . x + b u; y = Re(c . x) + d u. A group's coefficients lie
// together: for each of the n values a, c and, if of rank one, b, r, each as kBankLanes real parts
// and then as many imaginary ones. Lanes past the last channel are zero.
struct Bank {
  const float* coefficients;
  const float* d;  // [channels]
  int64_t channels;
  int64_t n;
  bool rank_one;
};

// Floats that a bank has for each value of a group.
constexpr int64_t bank_row(bool rank_one) { return (rank_one ? 4 : 2) * 2 * kBankLanes; }

// The channels of one group, through `steps` rows of u and y of all channels. `state` is
// [n, 2, kBankLanes]. y must not overlap u.
void bank_scan(const Bank& bank, int64_t group, const float* u, int64_t steps, float* state,
               float* y);

// x = a x + v for the complex values [begin, end) of the n of each of `steps` rows v, which are
// replaced by x. Real parts come first, then imaginary ones: in a, in each row and in `state`,
// which is the x before and after.
void diagonal_scan(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps, float* v,
                   float* state);
// What that makes of `state` alone.
void diagonal_reduce(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps,
                     const float* v, float* state);

// x = a x + v for the real values [begin, end) of each of `steps` rows of n values a and v; each x
// goes to a row of y, which may be v's. `state` is the x before and after.
void varying_scan(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                  int64_t steps, float* y, float* state);
// What that makes of `state` alone; `decay` is multiplied by all rows a.
void varying_reduce(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                    int64_t steps, float* state, float* decay);

namespace reference {

void bank_scan(const Bank& bank, int64_t group, const float* u, int64_t steps, float* state,
               float* y);
void diagonal_scan(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps, float* v,
                   float* state);
void diagonal_reduce(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps,
                     const float* v, float* state);
void varying_scan(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                  int64_t steps, float* y, float* state);
void varying_reduce(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                    int64_t steps, float* state, float* decay);

}  // namespace reference
}  // namespace sl::kernels
