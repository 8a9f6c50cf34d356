// Vectors of complex values, shared by the kernels: included as simd_math_inl.h is.

#if defined(SL_KERNELS_SIMD_COMPLEX_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_SIMD_COMPLEX_INL_H
#undef SL_KERNELS_SIMD_COMPLEX_INL_H
#else
#define SL_KERNELS_SIMD_COMPLEX_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));

template <class D>
struct Complex {
  hn::Vec<D> re;
  hn::Vec<D> im;
};

template <class D>
HWY_INLINE Complex<D> operator+(Complex<D> a, Complex<D> b) {
  return {hn::Add(a.re, b.re), hn::Add(a.im, b.im)};
}
template <class D>
HWY_INLINE Complex<D> operator-(Complex<D> a, Complex<D> b) {
  return {hn::Sub(a.re, b.re), hn::Sub(a.im, b.im)};
}
template <class D>
HWY_INLINE Complex<D> operator*(Complex<D> a, Complex<D> b) {
  return {hn::NegMulAdd(a.im, b.im, hn::Mul(a.re, b.re)),
          hn::MulAdd(a.re, b.im, hn::Mul(a.im, b.re))};
}
// a * x + y
template <class D>
HWY_INLINE Complex<D> multiply_add(Complex<D> a, Complex<D> x, Complex<D> y) {
  return {hn::NegMulAdd(a.im, x.im, hn::MulAdd(a.re, x.re, y.re)),
          hn::MulAdd(a.im, x.re, hn::MulAdd(a.re, x.im, y.im))};
}

template <class D>
HWY_INLINE Complex<D> load(const hn::TFromD<D>* re, const hn::TFromD<D>* im) {
  return {hn::LoadU(D(), re), hn::LoadU(D(), im)};
}
template <class D>
HWY_INLINE void store(Complex<D> v, hn::TFromD<D>* re, hn::TFromD<D>* im) {
  hn::StoreU(v.re, D(), re);
  hn::StoreU(v.im, D(), im);
}

template <class D>
HWY_INLINE Complex<D> load_interleaved(const float* x) {
  if constexpr (kLanes<D> == 1) return load<D>(x, x + 1);
  Complex<D> out;
  hn::LoadInterleaved2(D(), x, out.re, out.im);
  return out;
}
template <class D>
HWY_INLINE void store_interleaved(Complex<D> v, float* y) {
  if constexpr (kLanes<D> == 1) {
    store(v, y, y + 1);
  } else {
    hn::StoreInterleaved2(v.re, v.im, D(), y);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard toggle
