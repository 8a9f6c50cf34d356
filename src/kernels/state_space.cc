#include "kernels/state_space.h"

#include <complex>
#include <vector>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/state_space.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_complex_inl.h"
#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kChunk = 64;

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

// Runs kStates of the state values of one vector of channels, which stay in registers for all
// steps, and adds their contributions to y. u and y are [steps, kBankLanes].
template <int kStates>
HWY_INLINE void diagonal_states(const float* row, const float* u, int64_t steps, float* state,
                                float* y) {
  const DBank d;
  Complex<DBank> a[kStates], c[kStates], x[kStates];
  for (int i = 0; i < kStates; ++i) {
    a[i] = load_bank(row + i * bank_row(false));
    c[i] = load_bank(row + i * bank_row(false) + 2 * kBankLanes);
    x[i] = load_bank(state + i * 2 * kBankLanes);
  }
  for (int64_t t = 0; t < steps; ++t) {
    const VBank in = hn::LoadU(d, u + t * kBankLanes);
    VBank out = hn::LoadU(d, y + t * kBankLanes);
    for (int i = 0; i < kStates; ++i) {
      const VBank re = hn::NegMulAdd(a[i].im, x[i].im, hn::MulAdd(a[i].re, x[i].re, in));
      x[i] = {re, hn::MulAdd(a[i].im, x[i].re, hn::Mul(a[i].re, x[i].im))};
      out = hn::NegMulAdd(c[i].im, x[i].im, hn::MulAdd(c[i].re, x[i].re, out));
    }
    hn::StoreU(out, d, y + t * kBankLanes);
  }
  for (int i = 0; i < kStates; ++i) store_bank(x[i], state + i * 2 * kBankLanes);
}

HWY_INLINE void diagonal_lanes(const float* rows, int64_t n, const float* u, int64_t steps,
                               float* states, float* y) {
  // Two states at a time hide the latency of each other's updates.
  constexpr int64_t kStates = 2;
  int64_t i = 0;
  for (; i + kStates <= n; i += kStates) {
    diagonal_states<kStates>(rows + i * bank_row(false), u, steps, states + i * 2 * kBankLanes, y);
  }
  for (; i < n; ++i) {
    diagonal_states<1>(rows + i * bank_row(false), u, steps, states + i * 2 * kBankLanes, y);
  }
}

// Runs recurrences of rank one for one vector of channels. The r . x that the next step needs is
// summed along with the output.
HWY_INLINE void rank_one_lanes(const float* rows, int64_t n, const float* u, int64_t steps,
                               float* states, float* y) {
  const DBank d;
  ProductSum next = sum_from(hn::Zero(d));
  for (int64_t i = 0; i < n; ++i) {
    next.add(load_bank(rows + i * bank_row(true) + 6 * kBankLanes),
             load_bank(states + i * 2 * kBankLanes));
  }
  for (int64_t t = 0; t < steps; ++t) {
    const VBank in = hn::LoadU(d, u + t * kBankLanes);
    const Complex<DBank> feedback = next.value();
    ProductSum out = sum_from(hn::LoadU(d, y + t * kBankLanes));
    next = sum_from(hn::Zero(d));
    const float* row = rows;
    float* state = states;
    for (int64_t i = 0; i < n; ++i, row += bank_row(true), state += 2 * kBankLanes) {
      const Complex<DBank> b = load_bank(row + 4 * kBankLanes);
      const Complex<DBank> x =
          multiply_add(load_bank(row), load_bank(state),
                       {hn::MulAdd(b.re, in, feedback.re), hn::MulAdd(b.im, in, feedback.im)});
      store_bank(x, state);
      out.add_real(load_bank(row + 2 * kBankLanes), x);
      next.add(load_bank(row + 6 * kBankLanes), x);
    }
    hn::StoreU(out.real(), d, y + t * kBankLanes);
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

// Prefetches one cache line of each row. The rows are too far apart for the hardware's prefetcher.
HWY_INLINE void fetch(const float* x, int64_t stride, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i) hwy::Prefetch(x + i * stride);
}

// Loads one step's inputs of a group, padded with zeros if the last group has fewer channels, and
// starts the outputs at d times the inputs.
HWY_INLINE void load_row(const float* u, int64_t count, const float* d, float* in, float* out) {
  if (count < kBankLanes) {
    std::fill(in, in + kBankLanes, 0.0f);
    std::copy_n(u, count, in);
    u = in;
  }
  for (int64_t j = 0; j < kBankLanes; j += kLanes<DBank>) {
    const VBank v = hn::LoadU(DBank(), u + j);
    hn::Store(v, DBank(), in + j);
    hn::Store(hn::Mul(v, hn::Load(DBank(), d + j)), DBank(), out + j);
  }
}

HWY_INLINE void store_row(const float* out, int64_t count, float* y) {
  if (count < kBankLanes) {
    std::copy_n(out, count, y);
    return;
  }
  for (int64_t j = 0; j < kBankLanes; j += kLanes<DBank>) {
    hn::StoreU(hn::Load(DBank(), out + j), DBank(), y + j);
  }
}

}  // namespace

void bank_scan_all(const Bank& bank, int64_t group, const float* u, int64_t steps, float* state,
                   float* y) {
  const int64_t first = group * kBankLanes;
  const int64_t count = std::min(kBankLanes, bank.channels - first);
  const float* rows = bank.coefficients + group * bank.n * bank_row(bank.rank_one);
  HWY_ALIGN float in[kChunk * kBankLanes];
  HWY_ALIGN float out[kChunk * kBankLanes];
  HWY_ALIGN float d[kBankLanes] = {};
  std::copy_n(bank.d + first, count, d);
  for (int64_t begin = 0; begin < steps; begin += kChunk) {
    const int64_t size = std::min(kChunk, steps - begin);
    const float* from = u + begin * bank.channels + first;
    float* to = y + begin * bank.channels + first;
    fetch(to, bank.channels, size);
    fetch(from + size * bank.channels, bank.channels, std::min(kChunk, steps - begin - size));
    for (int64_t t = 0; t < size; ++t) {
      load_row(from + t * bank.channels, count, d, in + t * kBankLanes, out + t * kBankLanes);
    }
    for (int64_t j = 0; j < kBankLanes; j += kLanes<DBank>) {
      if (bank.rank_one) {
        rank_one_lanes(rows + j, bank.n, in + j, size, state + j, out + j);
      } else {
        diagonal_lanes(rows + j, bank.n, in + j, size, state + j, out + j);
      }
    }
    for (int64_t t = 0; t < size; ++t) {
      store_row(out + t * kBankLanes, count, to + t * bank.channels);
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

void bank_scan(const Bank& bank, int64_t group, const float* u, int64_t steps, float* state,
               float* y) {
  HWY_DYNAMIC_DISPATCH(bank_scan_all)(bank, group, u, steps, state, y);
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

void bank_scan(const Bank& bank, int64_t group, const float* u, int64_t steps, float* state,
               float* y) {
  const int64_t row = bank_row(bank.rank_one), pair = 2 * kBankLanes;
  for (int64_t j = 0; j < std::min(kBankLanes, bank.channels - group * kBankLanes); ++j) {
    const int64_t channel = group * kBankLanes + j;
    const float* rows = bank.coefficients + group * bank.n * row + j;
    for (int64_t t = 0; t < steps; ++t) {
      const double in = u[t * bank.channels + channel];
      double out = bank.d[channel] * in;
      Value feedback = 0;
      for (int64_t i = 0; bank.rank_one && i < bank.n; ++i) {
        feedback += value_at(rows + i * row + 3 * pair, kBankLanes) *
                    value_at(state + i * pair + j, kBankLanes);
      }
      for (int64_t i = 0; i < bank.n; ++i) {
        const float* at = rows + i * row;
        float* x = state + i * pair + j;
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
