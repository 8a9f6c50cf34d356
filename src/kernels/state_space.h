// Linear recurrences over time, x = a x + v: banks of state space models with u and y
// [steps, channels], and scans of v [steps, n] with a constant or varying factor a.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Channels are scanned side by side in groups of this many on every instruction set. With 64 state
// values, the coefficients of one group fit into the first-level cache.
constexpr int64_t kBankLanes = 8;

// One linear recurrence per channel, with a real input u, a real output y and n complex state
// values x: x_i = a_i x_i + u, or with rank_one x_i = a_i x_i + (r . x) + b_i u; y = Re(c . x) + d
// u. The coefficients of a group of kBankLanes channels are stored as [n, (a, c) or (a, c, b, r),
// (re, im), kBankLanes]. Lanes past the last channel are zero.
struct Bank {
  const float* coefficients;
  const float* d;  // [channels]
  int64_t channels;
  int64_t n;
  bool rank_one;
};

// Floats that `coefficients` holds for each of the n state values of a group.
constexpr int64_t bank_row(bool rank_one) { return (rank_one ? 4 : 2) * 2 * kBankLanes; }

// Runs the recurrences of the groups [first, last) over u [steps, channels] and writes their
// channels of y [steps, channels]. `state` is [last - first, n, (re, im), kBankLanes], in place. y
// must not overlap u.
void bank_scan(const Bank& bank, int64_t first, int64_t last, const float* u, int64_t steps,
               float* state, float* y);

// x = a x + v for each of `steps` rows of n complex values, of which only [begin, end) are
// computed. v is [steps, (re, im), n] and is replaced by x; a and `state` are [(re, im), n].
// `state` holds x before the first step and then after the last.
void diagonal_scan(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps, float* v,
                   float* state);
// Updates only `state`, as diagonal_scan does, and leaves v as it is.
void diagonal_reduce(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps,
                     const float* v, float* state);

// x = a x + v for each of `steps` rows of n real values, of which only [begin, end) are computed.
// a, v and y are [steps, n], y gets x of each step and may be v. `state` [n] holds x before the
// first step and then after the last.
void varying_scan(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                  int64_t steps, float* y, float* state);
// Updates only `state`, as varying_scan does, and multiplies `decay` [n] by the a of every step.
void varying_reduce(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                    int64_t steps, float* state, float* decay);

namespace reference {

void bank_scan(const Bank& bank, int64_t first, int64_t last, const float* u, int64_t steps,
               float* state, float* y);
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
