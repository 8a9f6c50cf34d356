#include "kernels/fft.h"

#include <cmath>
#include <complex>
#include <numbers>
#include <utility>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fft.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_complex_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using DWide = hn::CappedTag<float, kFftLanes>;
using DOne = hn::CappedTag<float, 1>;

template <class D>
HWY_INLINE Complex<D> scaled(Complex<D> a, float factor) {
  const auto f = hn::Set(D(), factor);
  return {hn::Mul(a.re, f), hn::Mul(a.im, f)};
}
// a + factor * b
template <class D>
HWY_INLINE Complex<D> add_scaled(Complex<D> a, Complex<D> b, float factor) {
  const auto f = hn::Set(D(), factor);
  return {hn::MulAdd(b.re, f, a.re), hn::MulAdd(b.im, f, a.im)};
}
// a - i b and a + i b
template <class D>
HWY_INLINE Complex<D> minus_i(Complex<D> a, Complex<D> b) {
  return {hn::Add(a.re, b.im), hn::Sub(a.im, b.re)};
}
template <class D>
HWY_INLINE Complex<D> plus_i(Complex<D> a, Complex<D> b) {
  return {hn::Sub(a.re, b.im), hn::Add(a.im, b.re)};
}

// Discrete Fourier transforms of 2, 3, 4, 5 and 8 values, in place.
template <class D>
HWY_INLINE void transform(Complex<D> (&a)[2]) {
  const Complex<D> b = a[1];
  a[1] = a[0] - b;
  a[0] = a[0] + b;
}

template <class D>
HWY_INLINE void transform(Complex<D> (&a)[3]) {
  constexpr float kSin = 0.866025403784438647f;  // sin(2 pi / 3)
  const Complex<D> sum = a[1] + a[2], difference = scaled(a[1] - a[2], kSin);
  const Complex<D> middle = add_scaled(a[0], sum, -0.5f);
  a[0] = a[0] + sum;
  a[1] = minus_i(middle, difference);
  a[2] = plus_i(middle, difference);
}

template <class D>
HWY_INLINE void transform(Complex<D> (&a)[4]) {
  const Complex<D> even = a[0] + a[2], even_difference = a[0] - a[2];
  const Complex<D> odd = a[1] + a[3], odd_difference = a[1] - a[3];
  a[0] = even + odd;
  a[2] = even - odd;
  a[1] = minus_i(even_difference, odd_difference);
  a[3] = plus_i(even_difference, odd_difference);
}

template <class D>
HWY_INLINE void transform(Complex<D> (&a)[5]) {
  constexpr float kCos1 = 0.309016994374947424f, kSin1 = 0.951056516295153572f;
  constexpr float kCos2 = -0.809016994374947424f, kSin2 = 0.587785252292473129f;
  const Complex<D> sum1 = a[1] + a[4], difference1 = a[1] - a[4];
  const Complex<D> sum2 = a[2] + a[3], difference2 = a[2] - a[3];
  const Complex<D> middle1 = add_scaled(add_scaled(a[0], sum1, kCos1), sum2, kCos2);
  const Complex<D> middle2 = add_scaled(add_scaled(a[0], sum1, kCos2), sum2, kCos1);
  const Complex<D> side1 = add_scaled(scaled(difference1, kSin1), difference2, kSin2);
  const Complex<D> side2 = add_scaled(scaled(difference1, kSin2), difference2, -kSin1);
  a[0] = a[0] + (sum1 + sum2);
  a[1] = minus_i(middle1, side1);
  a[4] = plus_i(middle1, side1);
  a[2] = minus_i(middle2, side2);
  a[3] = plus_i(middle2, side2);
}

template <class D>
HWY_INLINE void transform(Complex<D> (&a)[8]) {
  constexpr float kHalfRoot = 0.707106781186547524f;
  Complex<D> even[4] = {a[0], a[2], a[4], a[6]}, odd[4] = {a[1], a[3], a[5], a[7]};
  transform(even);
  transform(odd);
  // odd[1] and odd[3] times exp(-i pi k / 4).
  const auto f = hn::Set(D(), kHalfRoot);
  const Complex<D> odd1 = {hn::Mul(hn::Add(odd[1].re, odd[1].im), f),
                           hn::Mul(hn::Sub(odd[1].im, odd[1].re), f)};
  const Complex<D> odd3 = {hn::Mul(hn::Sub(odd[3].im, odd[3].re), f),
                           hn::Mul(hn::Neg(hn::Add(odd[3].re, odd[3].im)), f)};
  a[0] = even[0] + odd[0];
  a[4] = even[0] - odd[0];
  a[1] = even[1] + odd1;
  a[5] = even[1] - odd1;
  a[2] = minus_i(even[2], odd[2]);
  a[6] = plus_i(even[2], odd[2]);
  a[3] = even[3] + odd3;
  a[7] = even[3] - odd3;
}

// Sources of a pass: interleaved values for the first pass, split values for all later ones.
struct FromSplit {
  Split x;
  template <class D>
  HWY_INLINE Complex<D> at(int64_t i) const {
    return load<D>(x.re + i, x.im + i);
  }
};
template <bool kSwapped>
struct FromInterleaved {
  const float* x;
  template <class D>
  HWY_INLINE Complex<D> at(int64_t i) const {
    const Complex<D> v = load_interleaved<D>(x + 2 * i);
    return kSwapped ? Complex<D>{v.im, v.re} : v;
  }
};

// Tables of twiddles: one for each value of a pass, or one for each group of `stride` values.
struct TwiddlePerValue {
  const float* table;
  int64_t span;
  template <class D>
  HWY_INLINE Complex<D> at(int64_t, int64_t value, int64_t, int64_t j) const {
    const float* re = table + 2 * (j - 1) * span + value;
    return load<D>(re, re + span);
  }
};
struct TwiddlePerGroup {
  const float* table;
  template <class D>
  HWY_INLINE Complex<D> at(int64_t group, int64_t, int64_t radix, int64_t j) const {
    const float* at = table + 2 * (group * (radix - 1) + j - 1);
    return {hn::Set(D(), at[0]), hn::Set(D(), at[1])};
  }
};

struct Pass {
  int64_t radix;
  int64_t stride;
  int64_t span;  // n / radix
  Split y;

  int64_t groups() const { return span / stride; }
};

// Runs the small transforms `value` to value + lanes - 1 of a pass and multiplies by the twiddles.
// They belong to one group, except in short_groups.
template <class D, int kRadix, class From, class Twiddle>
HWY_INLINE void transform_values(const Pass& pass, const From& from, const Twiddle& twiddle,
                                 int64_t group, int64_t value, Complex<D> (&a)[kRadix]) {
  for (int k = 0; k < kRadix; ++k) a[k] = from.template at<D>(value + k * pass.span);
  transform(a);
  if (!twiddle.table) return;
  for (int k = 1; k < kRadix; ++k) {
    a[k] = a[k] * twiddle.template at<D>(group, value, kRadix, k);
  }
}

// Runs a pass whose groups, of `stride` values, are at least as long as a vector.
template <class D, int kRadix, class From, class Twiddle>
HWY_INLINE void long_groups(const Pass& pass, const From& from, const Twiddle& twiddle) {
  for (int64_t group = 0; group < pass.groups(); ++group) {
    for (int64_t i = 0; i < pass.stride; i += kLanes<D>) {
      // The last vector may overlap the one before it.
      const int64_t at = HWY_MIN(i, pass.stride - kLanes<D>);
      Complex<D> a[kRadix];
      transform_values<D>(pass, from, twiddle, group, group * pass.stride + at, a);
      const int64_t to = group * kRadix * pass.stride + at;
      for (int k = 0; k < kRadix; ++k) {
        store(a[k], pass.y.re + to + k * pass.stride, pass.y.im + to + k * pass.stride);
      }
    }
  }
}

template <int kRadix>
HWY_INLINE void store_single_groups(const Complex<DWide> (&a)[kRadix], Split y, int64_t to) {
  const DWide d;
  if constexpr (kRadix == 2) {
    hn::StoreInterleaved2(a[0].re, a[1].re, d, y.re + to);
    hn::StoreInterleaved2(a[0].im, a[1].im, d, y.im + to);
  } else if constexpr (kRadix == 3) {
    hn::StoreInterleaved3(a[0].re, a[1].re, a[2].re, d, y.re + to);
    hn::StoreInterleaved3(a[0].im, a[1].im, a[2].im, d, y.im + to);
  } else {
    static_assert(kRadix == 4);
    hn::StoreInterleaved4(a[0].re, a[1].re, a[2].re, a[3].re, d, y.re + to);
    hn::StoreInterleaved4(a[0].im, a[1].im, a[2].im, a[3].im, d, y.im + to);
  }
}

HWY_INLINE void store_halves(hn::Vec<DWide> v, float* lower, float* upper) {
#if HWY_TARGET == HWY_SCALAR  // vectors of one lane have no halves, and no stride needs them
  (void)v, (void)lower, (void)upper;
#else
  const hn::Half<DWide> half;
  hn::StoreU(hn::LowerHalf(half, v), half, lower);
  hn::StoreU(hn::UpperHalf(half, v), half, upper);
#endif
}

// Runs a pass whose groups are shorter than a vector: with kSingle a vector holds one value each of
// as many groups as it has lanes, without it half a vector each of two groups.
template <int kRadix, bool kSingle, class From>
HWY_INLINE void short_groups(const Pass& pass, const From& from, const TwiddlePerValue& twiddle) {
  constexpr int64_t kStep = kLanes<DWide>;
  for (int64_t i = 0; i < pass.span; i += kStep) {
    const int64_t value = HWY_MIN(i, pass.span - kStep);
    Complex<DWide> a[kRadix];
    transform_values<DWide>(pass, from, twiddle, 0, value, a);
    if constexpr (kSingle) {
      store_single_groups(a, pass.y, value * kRadix);
    } else {
      for (int k = 0; k < kRadix; ++k) {
        const int64_t to = value * kRadix + k * pass.stride, next = to + kRadix * pass.stride;
        store_halves(a[k].re, pass.y.re + to, pass.y.re + next);
        store_halves(a[k].im, pass.y.im + to, pass.y.im + next);
      }
    }
  }
}

template <int kRadix, class From>
HWY_INLINE void run_pass(const Pass& pass, const From& from, const float* twiddles) {
  constexpr int64_t kStep = kLanes<DWide>;
  if (pass.stride >= kFftLanes) {
    long_groups<DWide, kRadix>(pass, from, TwiddlePerGroup{twiddles});
    return;
  }
  const TwiddlePerValue twiddle{twiddles, pass.span};
  if (pass.stride >= kStep) {
    long_groups<DWide, kRadix>(pass, from, twiddle);
    return;
  }
  if constexpr (kRadix <= 4) {
    if (pass.stride == 1 && pass.span >= kStep) {
      short_groups<kRadix, true>(pass, from, twiddle);
      return;
    }
  }
  if (2 * pass.stride == kStep && pass.span >= kStep) {
    short_groups<kRadix, false>(pass, from, twiddle);
    return;
  }
  long_groups<DOne, kRadix>(pass, from, twiddle);
}

// Runs a pass of any radix by the definition of the transform.
template <class D, class From, class Twiddle>
HWY_INLINE void run_general(const Pass& pass, const From& from, const Twiddle& twiddle,
                            const float* roots) {
  for (int64_t group = 0; group < pass.groups(); ++group) {
    for (int64_t i = 0; i < pass.stride; i += kLanes<D>) {
      const int64_t at = HWY_MIN(i, pass.stride - kLanes<D>);
      const int64_t value = group * pass.stride + at;
      for (int64_t j = 0; j < pass.radix; ++j) {
        Complex<D> sum = from.template at<D>(value);
        for (int64_t k = 1, root = j; k < pass.radix; ++k, root = (root + j) % pass.radix) {
          const Complex<D> w = {hn::Set(D(), roots[2 * root]), hn::Set(D(), roots[2 * root + 1])};
          sum = sum + from.template at<D>(value + k * pass.span) * w;
        }
        if (j > 0 && twiddle.table) sum = sum * twiddle.template at<D>(group, value, pass.radix, j);
        const int64_t to = (group * pass.radix + j) * pass.stride + at;
        store(sum, pass.y.re + to, pass.y.im + to);
      }
    }
  }
}

template <class From>
HWY_NOINLINE void run_any_pass(const FftPass& fft_pass, int64_t n, const From& from, Split y) {
  const float* twiddles = fft_pass.twiddles.empty() ? nullptr : fft_pass.twiddles.data();
  const Pass pass{fft_pass.radix, fft_pass.stride, n / fft_pass.radix, y};
  switch (pass.radix) {
    case 2:
      return run_pass<2>(pass, from, twiddles);
    case 3:
      return run_pass<3>(pass, from, twiddles);
    case 4:
      return run_pass<4>(pass, from, twiddles);
    case 5:
      return run_pass<5>(pass, from, twiddles);
    case 8:
      return run_pass<8>(pass, from, twiddles);
    default:
      break;
  }
  if (pass.stride >= kFftLanes) {
    run_general<DWide>(pass, from, TwiddlePerGroup{twiddles}, fft_pass.roots.data());
  } else {
    run_general<DOne>(pass, from, TwiddlePerValue{twiddles, pass.span}, fft_pass.roots.data());
  }
}

// The last pass has one group and no twiddles, so it can scale the results and write them
// interleaved.
template <class D, int kRadix, bool kSwapped>
HWY_INLINE void last_values(Split x, int64_t stride, float factor, float* y) {
  for (int64_t i = 0; i < stride; i += kLanes<D>) {
    const int64_t at = HWY_MIN(i, stride - kLanes<D>);
    Complex<D> a[kRadix];
    for (int k = 0; k < kRadix; ++k) a[k] = FromSplit{x}.template at<D>(at + k * stride);
    transform(a);
    for (int k = 0; k < kRadix; ++k) {
      if (factor != 1.0f) a[k] = scaled(a[k], factor);
      if constexpr (kSwapped) a[k] = {a[k].im, a[k].re};
      store_interleaved(a[k], y + 2 * (at + k * stride));
    }
  }
}

template <int kRadix>
HWY_INLINE void last_pass(Split x, int64_t stride, float factor, bool swapped, float* y) {
  if (stride < kLanes<DWide>) {
    swapped ? last_values<DOne, kRadix, true>(x, stride, factor, y)
            : last_values<DOne, kRadix, false>(x, stride, factor, y);
  } else {
    swapped ? last_values<DWide, kRadix, true>(x, stride, factor, y)
            : last_values<DWide, kRadix, false>(x, stride, factor, y);
  }
}

// Runs the last pass if its radix has a kernel, and returns whether it has.
HWY_NOINLINE bool any_last_pass(int64_t radix, Split x, int64_t stride, float factor, bool swapped,
                                float* y) {
  switch (radix) {
    case 2:
      last_pass<2>(x, stride, factor, swapped, y);
      return true;
    case 3:
      last_pass<3>(x, stride, factor, swapped, y);
      return true;
    case 4:
      last_pass<4>(x, stride, factor, swapped, y);
      return true;
    case 5:
      last_pass<5>(x, stride, factor, swapped, y);
      return true;
    case 8:
      last_pass<8>(x, stride, factor, swapped, y);
      return true;
    default:
      return false;
  }
}

}  // namespace

Split run_passes(const FftPass* passes, int64_t count, int64_t n, const float* x, bool swapped,
                 Split a, Split b) {
  if (swapped) {
    run_any_pass(passes[0], n, FromInterleaved<true>{x}, a);
  } else {
    run_any_pass(passes[0], n, FromInterleaved<false>{x}, a);
  }
  for (int64_t i = 1; i < count; ++i) {
    run_any_pass(passes[i], n, FromSplit{a}, b);
    std::swap(a, b);
  }
  return a;
}

void interleave_all(Split x, float factor, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + kLanes<DWide> <= n; i += kLanes<DWide>) {
    store_interleaved(scaled(load<DWide>(x.re + i, x.im + i), factor), y + 2 * i);
  }
  for (; i < n; ++i) store_interleaved(scaled(load<DOne>(x.re + i, x.im + i), factor), y + 2 * i);
}

void run_to_interleaved(const FftPass* passes, int64_t count, int64_t n, const float* x,
                        bool inverse, float factor, Split a, Split b, float* y) {
  const FftPass& last = passes[count - 1];
  if (count > 1) {
    const Split before = run_passes(passes, count - 1, n, x, inverse, a, b);
    if (any_last_pass(last.radix, before, last.stride, factor, inverse, y)) return;
    const Split result = before.re == a.re ? b : a;
    run_any_pass(last, n, FromSplit{before}, result);
    a = result;
  } else {
    a = run_passes(passes, count, n, x, inverse, a, b);
  }
  interleave_all(inverse ? Split{a.im, a.re} : a, factor, n, y);
}

namespace {

template <class D>
HWY_INLINE Complex<D> reversed(Complex<D> v) {
  if constexpr (kLanes<D> == 1) return v;
  return {hn::Reverse(D(), v.re), hn::Reverse(D(), v.im)};
}

// Computes the results k to k + lanes - 1 and their counterparts at h - k, for 1 <= k <= h / 2.
template <class D>
HWY_INLINE void real_values(Split z, int64_t h, const float* twiddles, int64_t k, float* y) {
  const int64_t other = h - k - (kLanes<D> - 1);
  const Complex<D> low = load<D>(z.re + k, z.im + k);
  const Complex<D> high = reversed(load<D>(z.re + other, z.im + other));
  const Complex<D> sum = {hn::Add(low.re, high.re), hn::Sub(low.im, high.im)};
  const Complex<D> difference = {hn::Sub(low.re, high.re), hn::Add(low.im, high.im)};
  // w is -i exp(-i pi k / h) / 2.
  const Complex<D> w = load<D>(twiddles + k, twiddles + h / 2 + 1 + k);
  const Complex<D> odd = difference * w;
  const auto half = hn::Set(D(), 0.5f);
  const Complex<D> first = {hn::MulAdd(sum.re, half, odd.re), hn::MulAdd(sum.im, half, odd.im)};
  const Complex<D> second = {hn::MulSub(sum.re, half, odd.re), hn::NegMulAdd(sum.im, half, odd.im)};
  store_interleaved(reversed(second), y + 2 * other);
  store_interleaved(first, y + 2 * k);
}

template <class D>
HWY_INLINE void complex_values(const float* x, int64_t h, const float* twiddles, float factor,
                               int64_t k, float* z) {
  const int64_t other = h - k - (kLanes<D> - 1);
  const Complex<D> low = load_interleaved<D>(x + 2 * k);
  const Complex<D> high = reversed(load_interleaved<D>(x + 2 * other));
  const Complex<D> sum = {hn::Add(low.re, high.re), hn::Sub(low.im, high.im)};
  const Complex<D> difference = {hn::Sub(low.re, high.re), hn::Add(low.im, high.im)};
  // The factor is i exp(i pi k / h), the conjugate of twice the twiddle: half of it here, and
  // `twice` below makes up for that.
  const float* re = twiddles + k;
  const Complex<D> w = {hn::LoadU(D(), re), hn::Neg(hn::LoadU(D(), re + h / 2 + 1))};
  const Complex<D> odd = difference * w;
  const auto f = hn::Set(D(), factor), twice = hn::Set(D(), 2 * factor);
  const Complex<D> even = {hn::Mul(sum.re, f), hn::Mul(sum.im, f)};
  const Complex<D> first = {hn::MulAdd(odd.re, twice, even.re), hn::MulAdd(odd.im, twice, even.im)};
  const Complex<D> second = {hn::NegMulAdd(odd.re, twice, even.re),
                             hn::MulSub(odd.im, twice, even.im)};
  store_interleaved(reversed(second), z + 2 * other);
  store_interleaved(first, z + 2 * k);
}

// Calls fn(D(), k) for vectors of values from k on, which together cover [1, h / 2].
template <class Fn>
HWY_INLINE void for_pairs(int64_t h, Fn&& fn) {
  constexpr int64_t kStep = kLanes<DWide>;
  const int64_t end = h / 2 + 1;
  int64_t k = 1;
  for (; k + kStep <= end; k += kStep) fn(DWide(), k);
  if (k == end) return;
  if (k > 1) {
    fn(DWide(), end - kStep);
  } else {
    for (; k < end; ++k) fn(DOne(), k);
  }
}

}  // namespace

void all_real_values(Split z, int64_t h, const float* twiddles, float* y) {
  y[0] = z.re[0] + z.im[0];
  y[1] = 0.0f;
  y[2 * h] = z.re[0] - z.im[0];
  y[2 * h + 1] = 0.0f;
  for_pairs(h, [&](auto d, int64_t k) { real_values<decltype(d)>(z, h, twiddles, k, y); });
}

void all_complex_values(const float* x, int64_t h, const float* twiddles, float factor, float* z) {
  z[0] = (x[0] + x[2 * h]) * factor;
  z[1] = (x[0] - x[2 * h]) * factor;
  for_pairs(h,
            [&](auto d, int64_t k) { complex_values<decltype(d)>(x, h, twiddles, factor, k, z); });
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(run_passes);
HWY_EXPORT(run_to_interleaved);
HWY_EXPORT(all_real_values);
HWY_EXPORT(all_complex_values);
HWY_EXPORT(interleave_all);

namespace {

// exp(-2 pi i numerator / denominator)
std::complex<float> root(int64_t numerator, int64_t denominator) {
  const double angle = -2.0 * std::numbers::pi * static_cast<double>(numerator % denominator) /
                       static_cast<double>(denominator);
  return {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
}

void put(std::vector<float>& table, int64_t re, int64_t im, std::complex<float> value) {
  table[static_cast<size_t>(re)] = value.real();
  table[static_cast<size_t>(im)] = value.imag();
}

}  // namespace

FftPass make_fft_pass(int64_t n, int64_t radix, int64_t stride) {
  FftPass out;
  out.radix = radix;
  out.stride = stride;
  const int64_t span = n / radix, order = n / stride;
  if (span > stride) {
    const bool per_value = stride < kFftLanes;
    const int64_t rows = per_value ? span : span / stride;
    out.twiddles.resize(static_cast<size_t>(2 * (radix - 1) * rows));
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t group = per_value ? row / stride : row;
      for (int64_t j = 1; j < radix; ++j) {
        const int64_t at = per_value ? 2 * (j - 1) * span + row : 2 * (row * (radix - 1) + j - 1);
        put(out.twiddles, at, at + (per_value ? span : 1), root(j * group, order));
      }
    }
  }
  const bool has_kernel = radix <= 5 || radix == 8;
  if (has_kernel) return out;
  out.roots.resize(static_cast<size_t>(2 * radix));
  for (int64_t k = 0; k < radix; ++k) put(out.roots, 2 * k, 2 * k + 1, root(k, radix));
  return out;
}

std::vector<float> make_real_twiddles(int64_t h) {
  const int64_t count = h / 2 + 1;
  std::vector<float> out(static_cast<size_t>(2 * count));
  for (int64_t k = 0; k < count; ++k) {
    const std::complex<float> w = root(k, 2 * h) * std::complex(0.0f, -0.5f);
    put(out, k, count + k, w);
  }
  return out;
}

Split fft(const FftPass* passes, int64_t count, int64_t n, const float* x, bool swapped, Split a,
          Split b) {
  return HWY_DYNAMIC_DISPATCH(run_passes)(passes, count, n, x, swapped, a, b);
}
void fft_interleaved(const FftPass* passes, int64_t count, int64_t n, const float* x, bool inverse,
                     float factor, Split a, Split b, float* y) {
  HWY_DYNAMIC_DISPATCH(run_to_interleaved)(passes, count, n, x, inverse, factor, a, b, y);
}
void real_from_complex(Split z, int64_t h, const float* twiddles, float* y) {
  HWY_DYNAMIC_DISPATCH(all_real_values)(z, h, twiddles, y);
}
void complex_from_real(const float* x, int64_t h, const float* twiddles, float factor, float* z) {
  HWY_DYNAMIC_DISPATCH(all_complex_values)(x, h, twiddles, factor, z);
}
void interleave(Split x, float factor, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(interleave_all)(x, factor, n, y);
}

namespace reference {

void fft(const float* x, int64_t n, bool inverse, float* y) {
  const double turn = (inverse ? 2.0 : -2.0) * std::numbers::pi / static_cast<double>(n);
  for (int64_t j = 0; j < n; ++j) {
    std::complex<double> sum;
    for (int64_t k = 0; k < n; ++k) {
      const double angle = turn * static_cast<double>(j * k % n);
      sum += std::polar(1.0, angle) *
             std::complex<double>(static_cast<double>(x[2 * k]), static_cast<double>(x[2 * k + 1]));
    }
    if (inverse) sum /= static_cast<double>(n);
    y[2 * j] = static_cast<float>(sum.real());
    y[2 * j + 1] = static_cast<float>(sum.imag());
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
