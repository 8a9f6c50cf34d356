// tanh and sigmoid for recurrent cells, included as simd_math_inl.h is: each takes one division and
// no exponential. Their absolute error is about the spacing of float32 values near 1.

#if defined(SL_KERNELS_SIMD_GATES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_SIMD_GATES_INL_H
#undef SL_KERNELS_SIMD_GATES_INL_H
#else
#define SL_KERNELS_SIMD_GATES_INL_H
#endif

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

// tanh(x) with an absolute error below 3.1e-7, by a rational minimax fit in x * x.
HWY_INLINE VF gate_tanh(VF x) {
  const VF s = hn::Mul(x, x);
  const VF p = horner(s, 1.0f, 0.13450642f, 3.57901737e-3f, 2.20236609e-5f, 1.54285491e-8f);
  const VF q = horner(s, 1.0f, 0.4678397f, 2.61923345e-2f, 3.42369193e-4f, 8.59901581e-7f);
  // Beyond the range of the fit tanh is 1 within that error, and exactly 1 lets a gate close fully.
  // NaN stays NaN.
  const auto beyond = hn::Gt(hn::Abs(x), constant(7.9f));
  return hn::IfThenElse(beyond, hn::CopySign(constant(1.0f), x), hn::Div(hn::Mul(x, p), q));
}

HWY_INLINE VF gate_sigmoid(VF x) {
  const VF half = constant(0.5f);
  return hn::MulAdd(half, gate_tanh(hn::Mul(half, x)), half);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard toggle
