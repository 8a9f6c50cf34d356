#include "kernels/state_space.h"

#include <complex>
#include <vector>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/state_space.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/prefetch.h"
#include "kernels/simd_complex_inl.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_registers_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kChunk = 64;

// Floats of the states of a group.
constexpr int64_t state_size(int64_t n) { return n * 2 * kBankLanes; }

using DBank = hn::CappedTag<float, kBankLanes>;
using VBank = hn::Vec<DBank>;

HWY_INLINE Complex<DBank> load_bank(const float* x) { return load<DBank>(x, x + kBankLanes); }

HWY_INLINE void store_bank(Complex<DBank> x, float* y) { store(x, y, y + kBankLanes); }

// A sum of complex products that keeps the four products of real and imaginary parts in separate
// sums, so that their updates do not wait for each other.
struct ProductSum {
  VBank re_re, im_im, re_im, im_re;

  HWY_INLINE void add_real(Complex<DBank> a, Complex<DBank> x) {
    re_re = hn::MulAdd(a.re, x.re, re_re);
    im_im = hn::MulAdd(a.im, x.im, im_im);
  }
  HWY_INLINE void add(Complex<DBank> a, Complex<DBank> x) {
    add_real(a, x);
    re_im = hn::MulAdd(a.re, x.im, re_im);
    im_re = hn::MulAdd(a.im, x.re, im_re);
  }
  HWY_INLINE VBank real() const { return hn::Sub(re_re, im_im); }
  HWY_INLINE Complex<DBank> value() const { return {real(), hn::Add(re_im, im_re)}; }
};

// Starts a sum at a real value.
HWY_INLINE ProductSum sum_from(VBank start) {
  const VBank zero = hn::Zero(DBank());
  return {start, zero, zero, zero};
}

// Whether one vector holds the channels of two groups.
constexpr bool kPairs = HWY_LANES(float) >= 2 * kBankLanes;
constexpr int64_t kMaxGroups = kPairs ? 2 : 1;
// State values that are run at once: enough to hide the latency of each other's updates, and so few
// that they and their coefficients stay in registers.
constexpr int kManyStates = kManyRegisters ? 4 : 2;

// The vector at x of a group and, if D holds two, that of the next group, `pitch` floats further.
template <class D>
HWY_INLINE hn::Vec<D> load_groups(const float* x, [[maybe_unused]] int64_t pitch) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kLanes < D >> kBankLanes) {
    const hn::Half<D> half;
    return hn::Combine(D(), hn::LoadU(half, x + pitch), hn::LoadU(half, x));
  }
#endif
  return hn::LoadU(D(), x);
}

template <class D>
HWY_INLINE void store_groups(hn::Vec<D> v, float* x, [[maybe_unused]] int64_t pitch) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kLanes < D >> kBankLanes) {
    const hn::Half<D> half;
    hn::StoreU(hn::LowerHalf(half, v), half, x);
    hn::StoreU(hn::UpperHalf(half, v), half, x + pitch);
    return;
  }
#endif
  hn::StoreU(v, D(), x);
}

template <class D>
HWY_INLINE Complex<D> load_groups_complex(const float* x, int64_t pitch) {
  return {load_groups<D>(x, pitch), load_groups<D>(x + kBankLanes, pitch)};
}

// A vector of channels of a bank: its coefficients and states, and its chunk of inputs and outputs
// [steps, step].
struct BankVector {
  const float* rows;
  int64_t rows_pitch;  // from one group to the next
  float* states;
  int64_t states_pitch;
  const float* in;
  float* out;
  int64_t step;
  int64_t steps;
};

// Runs kStates of the state values from value `first` on, which stay in registers for all steps,
// and adds their contributions to the outputs.
template <class D, int kStates>
HWY_INLINE void diagonal_states(const BankVector& v, int64_t first) {
  const D d;
  const float* row = v.rows + first * bank_row(false);
  float* state = v.states + first * 2 * kBankLanes;
  Complex<D> a[kStates], c[kStates], x[kStates];
  for (int i = 0; i < kStates; ++i) {
    a[i] = load_groups_complex<D>(row + i * bank_row(false), v.rows_pitch);
    c[i] = load_groups_complex<D>(row + i * bank_row(false) + 2 * kBankLanes, v.rows_pitch);
    x[i] = load_groups_complex<D>(state + i * 2 * kBankLanes, v.states_pitch);
  }
  for (int64_t t = 0; t < v.steps; ++t) {
    const auto in = hn::LoadU(d, v.in + t * v.step);
    auto out = hn::LoadU(d, v.out + t * v.step);
    for (int i = 0; i < kStates; ++i) {
      const auto re = hn::NegMulAdd(a[i].im, x[i].im, hn::MulAdd(a[i].re, x[i].re, in));
      x[i] = {re, hn::MulAdd(a[i].im, x[i].re, hn::Mul(a[i].re, x[i].im))};
      out = hn::NegMulAdd(c[i].im, x[i].im, hn::MulAdd(c[i].re, x[i].re, out));
    }
    hn::StoreU(out, d, v.out + t * v.step);
  }
  for (int i = 0; i < kStates; ++i) {
    store_groups<D>(x[i].re, state + i * 2 * kBankLanes, v.states_pitch);
    store_groups<D>(x[i].im, state + (2 * i + 1) * kBankLanes, v.states_pitch);
  }
}

// Runs the state values [first, n).
template <class D, int kStates = kManyStates>
HWY_INLINE void diagonal_lanes(const BankVector& v, int64_t n, int64_t first = 0) {
  for (; first + kStates <= n; first += kStates) diagonal_states<D, kStates>(v, first);
  if constexpr (kStates > 1) diagonal_lanes<D, kStates / 2>(v, n, first);
}

// Runs recurrences of rank one for a vector of channels of one group. The r . x that the next step
// needs is summed along with the output.
HWY_INLINE void rank_one_lanes(const BankVector& v, int64_t n) {
  const DBank d;
  ProductSum next = sum_from(hn::Zero(d));
  for (int64_t i = 0; i < n; ++i) {
    next.add(load_bank(v.rows + i * bank_row(true) + 6 * kBankLanes),
             load_bank(v.states + i * 2 * kBankLanes));
  }
  for (int64_t t = 0; t < v.steps; ++t) {
    const VBank in = hn::LoadU(d, v.in + t * v.step);
    const Complex<DBank> feedback = next.value();
    ProductSum out = sum_from(hn::LoadU(d, v.out + t * v.step));
    next = sum_from(hn::Zero(d));
    const float* row = v.rows;
    float* state = v.states;
    for (int64_t i = 0; i < n; ++i, row += bank_row(true), state += 2 * kBankLanes) {
      const Complex<DBank> b = load_bank(row + 4 * kBankLanes);
      const Complex<DBank> x =
          multiply_add(load_bank(row), load_bank(state),
                       {hn::MulAdd(b.re, in, feedback.re), hn::MulAdd(b.im, in, feedback.im)});
      store_bank(x, state);
      out.add_real(load_bank(row + 2 * kBankLanes), x);
      next.add(load_bank(row + 6 * kBankLanes), x);
    }
    hn::StoreU(out.real(), d, v.out + t * v.step);
  }
}

// Runs x = a x + v for one vector of values, from value i on, and calls out(x, offset) for the x of
// each step, where `offset` is its position in v.
template <class D, class Out>
HWY_INLINE void diagonal_column(const float* a, int64_t n, int64_t i, int64_t steps, const float* v,
                                float* state, const Out& out) {
  const auto factor = load<D>(a + i, a + n + i);
  auto x = load<D>(state + i, state + n + i);
  for (int64_t at = i; at < i + steps * 2 * n; at += 2 * n) {
    x = multiply_add(factor, x, load<D>(v + at, v + at + n));
    out(x, at);
  }
  store(x, state + i, state + n + i);
}

using DOne = hn::CappedTag<float, 1>;

template <class Out>
HWY_INLINE void diagonal_columns(const float* a, int64_t n, int64_t begin, int64_t end,
                                 int64_t steps, const float* v, float* state, const Out& out) {
  // Neighbouring columns share cache lines, so all columns run kChunk steps before the next chunk.
  for (int64_t t = 0; t < steps; t += kChunk) {
    const int64_t size = std::min(kChunk, steps - t), row = t * 2 * n;
    int64_t i = begin;
    for (; i + kFloatLanes <= end; i += kFloatLanes) {
      diagonal_column<DF>(a, n, i, size, v + row, state,
                          [&](auto x, int64_t at) HWY_ATTR { out(x, row + at); });
    }
    for (; i < end; ++i) {
      diagonal_column<DOne>(a, n, i, size, v + row, state,
                            [&](auto x, int64_t at) HWY_ATTR { out(x, row + at); });
    }
  }
}

// Calls `row` for the vectors of one row after the other. Going down a column first would miss the
// cache at every step.
template <class Row>
HWY_INLINE void varying_rows(int64_t n, int64_t begin, int64_t end, int64_t steps, const Row& row) {
  for (int64_t t = 0; t < steps; ++t) {
    int64_t i = begin;
    for (; i + kFloatLanes <= end; i += kFloatLanes) row(DF(), i, t * n + i);
    for (; i < end; ++i) row(DOne(), i, t * n + i);
  }
}

// Loads one step's inputs of kGroups groups, padded with zeros if the last one has fewer channels,
// and starts the outputs at d times the inputs.
template <int64_t kGroups>
HWY_INLINE void load_row(const float* u, int64_t count, const float* d, float* in, float* out) {
  using D = hn::CappedTag<float, kGroups * kBankLanes>;
  if (count < kGroups * kBankLanes) {
    std::fill(in, in + kGroups * kBankLanes, 0.0f);
    std::copy_n(u, count, in);
    u = in;
  }
  for (int64_t j = 0; j < kGroups * kBankLanes; j += kLanes<D>) {
    const auto v = hn::LoadU(D(), u + j);
    hn::Store(v, D(), in + j);
    hn::Store(hn::Mul(v, hn::Load(D(), d + j)), D(), out + j);
  }
}

template <int64_t kGroups>
HWY_INLINE void store_row(const float* out, int64_t count, float* y) {
  using D = hn::CappedTag<float, kGroups * kBankLanes>;
  if (count < kGroups * kBankLanes) {
    std::copy_n(out, count, y);
    return;
  }
  for (int64_t j = 0; j < kGroups * kBankLanes; j += kLanes<D>) {
    hn::StoreU(hn::Load(D(), out + j), D(), y + j);
  }
}

// Prefetches the channels of one group or two in each row. The rows are too far apart for the
// hardware's prefetcher.
HWY_INLINE void fetch(const float* x, int64_t stride, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i) prefetch_into_l2(x + i * stride);
}

// Runs the recurrences of kGroups groups for at most kChunk steps; u, `state` and y are theirs.
template <int64_t kGroups>
HWY_INLINE void scan_groups(const Bank& bank, int64_t group, const float* u, int64_t steps,
                            float* state, float* y) {
  using D = hn::CappedTag<float, kGroups * kBankLanes>;
  constexpr int64_t kStep = kGroups * kBankLanes;
  const int64_t first = group * kBankLanes, count = std::min(kStep, bank.channels - first);
  HWY_ALIGN float in[kChunk * kStep];
  HWY_ALIGN float out[kChunk * kStep];
  HWY_ALIGN float d[kStep] = {};
  std::copy_n(bank.d + first, count, d);
  for (int64_t t = 0; t < steps; ++t) {
    load_row<kGroups>(u + t * bank.channels, count, d, in + t * kStep, out + t * kStep);
  }
  const int64_t rows_pitch = bank.n * bank_row(bank.rank_one), states_pitch = state_size(bank.n);
  const float* rows = bank.coefficients + group * rows_pitch;
  for (int64_t j = 0; j < kBankLanes; j += kLanes<D>) {
    const BankVector v{rows + j, rows_pitch, state + j, states_pitch,
                       in + j,   out + j,    kStep,     steps};
    if (kGroups == 1 && bank.rank_one) {
      rank_one_lanes(v, bank.n);
    } else {
      diagonal_lanes<D>(v, bank.n);
    }
  }
  for (int64_t t = 0; t < steps; ++t) {
    store_row<kGroups>(out + t * kStep, count, y + t * bank.channels);
  }
}

}  // namespace

void bank_scan_all(const Bank& bank, int64_t first, int64_t last, const float* u, int64_t steps,
                   float* state, float* y) {
  if (steps == 0) return;  // u and y may be null
  const int64_t channels = bank.channels, at_once = kPairs && !bank.rank_one ? 2 : 1;
  u += first * kBankLanes, y += first * kBankLanes;
  for (int64_t t = 0; t < steps; t += kChunk, u += kChunk * channels, y += kChunk * channels) {
    const int64_t size = std::min(kChunk, steps - t);
    const int64_t next_size = std::min(kChunk, steps - t - size);
    for (int64_t group = first, next; group < last; group = next) {
      next = group + std::min(at_once, last - group);
      const int64_t i = group - first, at = i * kBankLanes;
      const float* const own = u + at;
      fetch(y + at, channels, size);
      if (next < last) {
        fetch(u + (next - first) * kBankLanes, channels, size);
      } else {
        fetch(u + kChunk * channels, channels, next_size);
      }
      float* const x = state + i * state_size(bank.n);
      if (next - group == kMaxGroups) {
        scan_groups<kMaxGroups>(bank, group, own, size, x, y + at);
      } else {
        scan_groups<1>(bank, group, own, size, x, y + at);
      }
    }
  }
}

void diagonal_scan_all(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps,
                       float* v, float* state) {
  diagonal_columns(a, n, begin, end, steps, v, state,
                   [=](auto x, int64_t at) HWY_ATTR { store(x, v + at, v + at + n); });
}

void diagonal_reduce_all(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps,
                         const float* v, float* state) {
  diagonal_columns(a, n, begin, end, steps, v, state, [](auto, int64_t) HWY_ATTR {});
}

void varying_scan_all(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                      int64_t steps, float* y, float* state) {
  varying_rows(n, begin, end, steps, [&](auto d, int64_t i, int64_t at) HWY_ATTR {
    const auto x = hn::MulAdd(hn::LoadU(d, a + at), hn::LoadU(d, state + i), hn::LoadU(d, v + at));
    hn::StoreU(x, d, state + i);
    hn::StoreU(x, d, y + at);
  });
}

void varying_reduce_all(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                        int64_t steps, float* state, float* decay) {
  varying_rows(n, begin, end, steps, [&](auto d, int64_t i, int64_t at) HWY_ATTR {
    const auto factor = hn::LoadU(d, a + at);
    hn::StoreU(hn::MulAdd(factor, hn::LoadU(d, state + i), hn::LoadU(d, v + at)), d, state + i);
    hn::StoreU(hn::Mul(factor, hn::LoadU(d, decay + i)), d, decay + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(bank_scan_all);
HWY_EXPORT(diagonal_scan_all);
HWY_EXPORT(diagonal_reduce_all);
HWY_EXPORT(varying_scan_all);
HWY_EXPORT(varying_reduce_all);

void bank_scan(const Bank& bank, int64_t first, int64_t last, const float* u, int64_t steps,
               float* state, float* y) {
  HWY_DYNAMIC_DISPATCH(bank_scan_all)(bank, first, last, u, steps, state, y);
}

void diagonal_scan(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps, float* v,
                   float* state) {
  HWY_DYNAMIC_DISPATCH(diagonal_scan_all)(a, n, begin, end, steps, v, state);
}

void diagonal_reduce(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps,
                     const float* v, float* state) {
  HWY_DYNAMIC_DISPATCH(diagonal_reduce_all)(a, n, begin, end, steps, v, state);
}

void varying_scan(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                  int64_t steps, float* y, float* state) {
  HWY_DYNAMIC_DISPATCH(varying_scan_all)(a, v, n, begin, end, steps, y, state);
}

void varying_reduce(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                    int64_t steps, float* state, float* decay) {
  HWY_DYNAMIC_DISPATCH(varying_reduce_all)(a, v, n, begin, end, steps, state, decay);
}

namespace reference {
namespace {

using Value = std::complex<double>;

Value value_at(const float* x, int64_t gap) { return {x[0], x[gap]}; }

}  // namespace

void bank_scan(const Bank& bank, int64_t first, int64_t last, const float* u, int64_t steps,
               float* state, float* y) {
  const int64_t row = bank_row(bank.rank_one), pair = 2 * kBankLanes;
  for (int64_t channel = first * kBankLanes; channel < std::min(last * kBankLanes, bank.channels);
       ++channel) {
    const int64_t group = channel / kBankLanes, j = channel % kBankLanes;
    const float* rows = bank.coefficients + group * bank.n * row + j;
    float* own = state + (group - first) * bank.n * pair + j;
    for (int64_t t = 0; t < steps; ++t) {
      const double in = u[t * bank.channels + channel];
      double out = bank.d[channel] * in;
      Value feedback = 0;
      for (int64_t i = 0; bank.rank_one && i < bank.n; ++i) {
        feedback +=
            value_at(rows + i * row + 3 * pair, kBankLanes) * value_at(own + i * pair, kBankLanes);
      }
      for (int64_t i = 0; i < bank.n; ++i) {
        const float* at = rows + i * row;
        float* x = own + i * pair;
        const Value drive = bank.rank_one ? value_at(at + 2 * pair, kBankLanes) : 1.0;
        Value next = value_at(at, kBankLanes) * value_at(x, kBankLanes) + drive * in + feedback;
        out += (value_at(at + pair, kBankLanes) * next).real();
        x[0] = static_cast<float>(next.real());
        x[kBankLanes] = static_cast<float>(next.imag());
      }
      y[t * bank.channels + channel] = static_cast<float>(out);
    }
  }
}

void diagonal_scan(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps, float* v,
                   float* state) {
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t i = begin; i < end; ++i) {
      float* now = v + t * 2 * n + i;
      const Value x = value_at(a + i, n) * value_at(state + i, n) + value_at(now, n);
      now[0] = state[i] = static_cast<float>(x.real());
      now[n] = state[n + i] = static_cast<float>(x.imag());
    }
  }
}

void diagonal_reduce(const float* a, int64_t n, int64_t begin, int64_t end, int64_t steps,
                     const float* v, float* state) {
  std::vector<float> x(v, v + steps * 2 * n);
  diagonal_scan(a, n, begin, end, steps, x.data(), state);
}

void varying_scan(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                  int64_t steps, float* y, float* state) {
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t i = begin; i < end; ++i) {
      y[t * n + i] = state[i] = a[t * n + i] * state[i] + v[t * n + i];
    }
  }
}

void varying_reduce(const float* a, const float* v, int64_t n, int64_t begin, int64_t end,
                    int64_t steps, float* state, float* decay) {
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t i = begin; i < end; ++i) {
      state[i] = a[t * n + i] * state[i] + v[t * n + i];
      decay[i] *= a[t * n + i];
    }
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
