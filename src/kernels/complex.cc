#include "kernels/complex.h"

#include <cmath>
#include <complex>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/complex.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_complex_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using DWide = hn::CappedTag<float, 8>;  // at most as wide as the vectors of fft.cc
using DOne = hn::CappedTag<float, 1>;

// Calls fn(D(), i) for vectors of values from i on, which together cover [0, n).
template <class Fn>
HWY_INLINE void for_vectors(int64_t n, Fn&& fn) {
  int64_t i = 0;
  for (; i + kLanes<DWide> <= n; i += kLanes<DWide>) fn(DWide(), i);
  for (; i < n; ++i) fn(DOne(), i);
}

// y = sum_i x_i * w_i for one vector of results.
template <class D>
HWY_INLINE void sum_products_at(const float* x, int64_t x_step, const float* w, int64_t w_step,
                                int64_t count, float* y) {
  Complex<D> sum{hn::Zero(D()), hn::Zero(D())};
  for (int64_t i = 0; i < count; ++i, x += x_step, w += w_step) {
    sum = multiply_add(load_interleaved<D>(w), load_interleaved<D>(x), sum);
  }
  store_interleaved(sum, y);
}

template <class D>
HWY_INLINE hn::Vec<D> magnitude_of(Complex<D> v) {
  const D d;
  const auto square = hn::MulAdd(v.re, v.re, hn::Mul(v.im, v.im));
  const auto plain = hn::And(hn::Gt(square, hn::Set(d, 1e-30f)), hn::Lt(square, hn::Set(d, 1e38f)));
  const auto root = hn::Sqrt(square);
  if (HWY_LIKELY(hn::AllTrue(d, plain))) return root;
  // The squares may overflow or underflow.
  const auto a = hn::Abs(v.re), b = hn::Abs(v.im);
  const auto larger = hn::IfThenElse(hn::Gt(a, b), a, b);
  const auto smaller = hn::IfThenElse(hn::Gt(a, b), b, a);
  const auto ratio = hn::Div(smaller, larger);
  const auto y = hn::Mul(larger, hn::Sqrt(hn::MulAdd(ratio, ratio, hn::Set(d, 1.0f))));
  const auto infinity = hn::Set(d, HUGE_VALF);
  const auto infinite = hn::Or(hn::Eq(a, infinity), hn::Eq(b, infinity));
  const auto zero = hn::And(hn::Eq(a, hn::Zero(d)), hn::Eq(b, hn::Zero(d)));
  const auto scaled = hn::IfThenElse(infinite, infinity, hn::IfThenElse(zero, hn::Zero(d), y));
  // A number's result must not depend on those that share its vector.
  return hn::IfThenElse(plain, root, scaled);
}

}  // namespace

void multiply_complex_all(const float* x, const float* w, float* y, int64_t n) {
  for_vectors(n, [&](auto d, int64_t i) {
    using D = decltype(d);
    store_interleaved(load_interleaved<D>(x + 2 * i) * load_interleaved<D>(w + 2 * i), y + 2 * i);
  });
}

void sum_products_complex_all(const float* x, int64_t x_step, const float* w, int64_t w_step,
                              int64_t count, int64_t n, float* y) {
  for_vectors(n, [&](auto d, int64_t i) {
    sum_products_at<decltype(d)>(x + 2 * i, x_step, w + 2 * i, w_step, count, y + 2 * i);
  });
}

void magnitude_all(const float* x, float* y, int64_t n) {
  for_vectors(n, [&](auto d, int64_t i) {
    hn::StoreU(magnitude_of(load_interleaved<decltype(d)>(x + 2 * i)), d, y + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(multiply_complex_all);
HWY_EXPORT(sum_products_complex_all);
HWY_EXPORT(magnitude_all);

void multiply_complex(const float* x, const float* w, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(multiply_complex_all)(x, w, y, n);
}
void sum_products_complex(const float* x, int64_t x_step, const float* w, int64_t w_step,
                          int64_t count, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(sum_products_complex_all)(x, x_step, w, w_step, count, n, y);
}
void magnitude(const float* x, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(magnitude_all)(x, y, n);
}

namespace reference {

void sum_products_complex(const float* x, int64_t x_step, const float* w, int64_t w_step,
                          int64_t count, int64_t n, float* y) {
  for (int64_t k = 0; k < 2 * n; k += 2) {
    std::complex<double> sum;
    for (int64_t i = 0; i < count; ++i) {
      const float* a = x + i * x_step + k;
      const float* b = w + i * w_step + k;
      sum += std::complex<double>(a[0], a[1]) * std::complex<double>(b[0], b[1]);
    }
    y[k] = static_cast<float>(sum.real());
    y[k + 1] = static_cast<float>(sum.imag());
  }
}

void magnitude(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(std::abs(std::complex<double>(x[2 * i], x[2 * i + 1])));
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
