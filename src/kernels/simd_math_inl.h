// Vector math shared by the kernels, compiled once per instruction set: include it from a file that
// is itself re-included by hwy/foreach_target.h. Polynomials are minimax fits made for this file,
// except where noted.

#if defined(SL_KERNELS_SIMD_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_SIMD_MATH_INL_H
#undef SL_KERNELS_SIMD_MATH_INL_H
#else
#define SL_KERNELS_SIMD_MATH_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
using DI = hn::RebindToSigned<DF>;
using VI = hn::Vec<DI>;

constexpr int64_t kFloatLanes = HWY_LANES(float);

HWY_INLINE VF constant(float value) { return hn::Set(DF(), value); }

// Partial vectors go through the stack: kernels must not touch memory past the end of an array.
HWY_INLINE VF load_some(const float* x, int64_t count, float fill = 0.0f) {
  HWY_ALIGN float buffer[kFloatLanes];
  hn::Store(constant(fill), DF(), buffer);
  std::copy_n(x, count, buffer);
  return hn::Load(DF(), buffer);
}

HWY_INLINE void store_some(VF v, float* y, int64_t count) {
  HWY_ALIGN float buffer[kFloatLanes];
  hn::Store(v, DF(), buffer);
  std::copy_n(buffer, count, y);
}

// c0 + x * (c1 + x * (c2 + ...))
HWY_INLINE VF horner(VF, float c0) { return constant(c0); }
template <class... C>
HWY_INLINE VF horner(VF x, float c0, C... rest) {
  return hn::MulAdd(horner(x, rest...), x, constant(c0));
}

// A value as the unevaluated sum hi + lo, with |lo| a rounding error of hi.
struct Pair {
  VF hi;
  VF lo;
};

// hi + lo = x, with hi short enough that hi * hi and hi * (another hi) are exact.
HWY_INLINE Pair split(VF x) {
  const DF d;
  const auto mask = hn::Set(DI(), static_cast<int32_t>(0xFFFFF000u));
  const VF hi = hn::BitCast(d, hn::And(hn::BitCast(DI(), x), mask));
  return Pair{hi, hn::Sub(x, hi)};
}

// a * b without rounding, unless it overflows or comes near underflow.
HWY_INLINE Pair exact_product(VF a, VF b) {
  const VF p = hn::Mul(a, b);
#if HWY_NATIVE_FMA
  return Pair{p, hn::MulSub(a, b, p)};
#else
  const Pair x = split(a);
  const Pair y = split(b);
  VF e = hn::Sub(hn::Mul(x.hi, y.hi), p);
  e = hn::Add(e, hn::Mul(x.hi, y.lo));
  e = hn::Add(e, hn::Mul(x.lo, y.hi));
  return Pair{p, hn::Add(e, hn::Mul(x.lo, y.lo))};
#endif
}

// 2^n for n in [-126, 127].
HWY_INLINE VF power_of_two(VI n) {
  return hn::BitCast(DF(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(DI(), 127))));
}

// x * 2^n for n in [-252, 254]: in two steps, as 2^n itself may overflow or underflow.
HWY_INLINE VF scale_by_power(VF x, VI n) {
  const VI half = hn::ShiftRight<1>(n);
  return hn::Mul(hn::Mul(x, power_of_two(half)), power_of_two(hn::Sub(n, half)));
}

// x = n * ln 2 + r with |r| <= ln 2 / 2, for finite x of moderate size.
struct Reduced {
  VI n;
  VF r;
};

HWY_INLINE Reduced reduce_exp(VF x) {
  const DF d;
  const VI n = hn::NearestInt(hn::Mul(x, constant(1.44269504f)));
  const VF nf = hn::ConvertTo(d, n);
  // The high part of ln 2 has few enough bits for an exact product.
  VF r = hn::NegMulAdd(nf, constant(0.693359375f), x);
  r = hn::NegMulAdd(nf, constant(-2.12194440e-4f), r);
  return Reduced{n, r};
}

// expm1(r) for |r| <= ln 2 / 2.
HWY_INLINE VF expm1_reduced(VF r) {
  const VF q =
      horner(r, 0.5f, 0.166666657f, 0.0416663475f, 0.00833339151f, 0.00139416533f, 0.000198459573f);
  return hn::MulAdd(hn::Mul(r, r), q, r);
}

HWY_INLINE VF exp_of_reduced(Reduced x) {
  return scale_by_power(hn::Add(constant(1.0f), expm1_reduced(x.r)), x.n);
}

// Clamps x to a range outside of which exp is 0 or infinite. NaN gives any value.
HWY_INLINE VF clamp_exp(VF x) { return hn::Min(hn::Max(x, constant(-105.0f)), constant(90.0f)); }

HWY_INLINE VF keep_nan(VF x, VF y) { return hn::IfThenElse(hn::IsNaN(x), x, y); }

HWY_INLINE VF exp_vector(VF x) { return keep_nan(x, exp_of_reduced(reduce_exp(clamp_exp(x)))); }

// exp(-|x.hi + x.lo|), for x.hi not NaN.
HWY_INLINE VF exp_minus_abs(Pair x) {
  const VF sign = hn::And(x.hi, constant(-0.0f));
  Reduced e = reduce_exp(hn::Max(hn::Neg(hn::Abs(x.hi)), constant(-105.0f)));
  e.r = hn::Sub(e.r, hn::Xor(x.lo, sign));
  return exp_of_reduced(e);
}

// exp(x) - 1 for x <= 0.
HWY_INLINE VF expm1_negative(VF x) {
  const VF one = constant(1.0f);
  // Below -25 the result is -1.
  const Reduced e = reduce_exp(hn::Max(x, constant(-25.0f)));
  const VF power = power_of_two(e.n);
  return keep_nan(x, hn::MulAdd(power, expm1_reduced(e.r), hn::Sub(power, one)));
}

// log(1 + x) for x in [0, 1], as 2 atanh(x / (2 + x)).
HWY_INLINE VF log1p_unit(VF x) {
  const VF z = hn::Div(x, hn::Add(constant(2.0f), x));
  const VF s = hn::Mul(z, z);
  const VF p = horner(s, 0.666666687f, 0.399996936f, 0.285928816f, 0.216988727f, 0.232597709f);
  return hn::MulAdd(hn::Mul(z, s), p, hn::Add(z, z));
}

// Natural logarithm, with the polynomial of FreeBSD's e_logf.c.
HWY_INLINE VF log_vector(VF x) {
  const DF d;
  const DI di;
  const VF smallest = constant(1.17549435e-38f);
  const auto subnormal = hn::Lt(x, smallest);
  const VF normal = hn::IfThenElse(subnormal, hn::Mul(x, constant(8388608.0f)), x);
  const VI bits = hn::BitCast(di, normal);
  // Mantissa in [sqrt(1/2), sqrt(2)): near 1 the exponent is 0 and f is exact.
  const VI offset = hn::Sub(bits, hn::Set(di, 0x3F3504F3));
  const VI exponent = hn::ShiftRight<23>(offset);
  const VF m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(exponent)));
  const VF f = hn::Sub(m, constant(1.0f));
  const VF z = hn::Div(f, hn::Add(constant(2.0f), f));
  const VF s = hn::Mul(z, z);
  const VF r =
      hn::Mul(s, horner(s, 0.66666662693f, 0.40000972152f, 0.28498786688f, 0.24279078841f));
  const VF half_square = hn::Mul(constant(0.5f), hn::Mul(f, f));
  const VF k = hn::Sub(hn::ConvertTo(d, exponent), hn::IfThenElseZero(subnormal, constant(23.0f)));
  VF y = hn::MulAdd(k, constant(9.0580006145e-6f), hn::Mul(z, hn::Add(half_square, r)));
  y = hn::Add(hn::Sub(f, hn::Sub(half_square, y)), hn::Mul(k, constant(6.9313812256e-1f)));
  const VF infinity = constant(HUGE_VALF);
  y = hn::IfThenElse(hn::Eq(x, infinity), infinity, y);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), y);
  // Also catches NaN.
  return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), y, hn::NaN(d));
}

HWY_INLINE VF sigmoid_vector(VF x) {
  const VF one = constant(1.0f);
  return hn::Div(one, hn::Add(one, exp_vector(hn::Neg(x))));
}

HWY_INLINE VF tanh_vector(VF x) {
  const VF a = hn::Abs(x);
  const VF s = hn::Mul(x, x);
  const VF p =
      horner(s, -0.333332837f, 0.133314848f, -0.0537429117f, 0.0206485651f, -0.00571467821f);
  const VF small = hn::MulAdd(hn::Mul(x, s), p, x);
  // exp(2a) cannot overflow: tanh is 1 from 10 on.
  const VF limited = hn::Min(a, constant(10.0f));
  const VF e = exp_of_reduced(reduce_exp(hn::Add(limited, limited)));
  const VF one = constant(1.0f);
  const VF large = hn::Sub(one, hn::Div(constant(2.0f), hn::Add(e, one)));
  const VF y = hn::IfThenElse(hn::Lt(a, constant(0.625f)), small, hn::CopySign(large, x));
  return keep_nan(x, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard toggle
