#include "kernels/pointwise.h"

#include <algorithm>
#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pointwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE VF zero() { return hn::Zero(DF()); }

// max(x, 0), where -0 gives +0 and NaN stays NaN.
HWY_INLINE VF relu(VF x) { return hn::IfThenElse(hn::Le(x, zero()), zero(), x); }

HWY_INLINE VF clamp(VF x, float low, float high) {
  return keep_nan(x, hn::Min(hn::Max(x, constant(low)), constant(high)));
}

HWY_INLINE VF elu(VF x, VF alpha) {
  return hn::IfThenElse(hn::Gt(x, zero()), x, hn::Mul(alpha, expm1_negative(x)));
}

// sigmoid of v, where |v| is given by e = exp(-|v|) and its sign by that of x.
HWY_INLINE VF sigmoid_from_exp(VF e, VF x) {
  const VF one = constant(1.0f);
  const VF numerator = hn::IfThenElse(hn::Lt(x, zero()), e, one);
  return hn::Div(numerator, hn::Add(one, e));
}

HWY_INLINE VF softplus(VF x) {
  return hn::Add(hn::Max(x, zero()), log1p_unit(exp_vector(hn::Neg(hn::Abs(x)))));
}

// x * sigmoid(v) with v = sqrt(8 / pi) * (x + 0.044715 x^3). A rounding error of v would grow with
// |v| in the result, so v is computed as a pair.
HWY_INLINE VF gelu_tanh(VF x) {
  const VF one = constant(1.0f);
  const VF t = hn::Min(hn::Abs(x), constant(12.0f));  // exp(-v) is 0 for larger values
  const Pair square = exact_product(t, t);
  const VF cubic = constant(0.044715f);
  Pair p = exact_product(square.hi, cubic);
  p.lo = hn::MulAdd(square.lo, cubic, p.lo);
  p.lo = hn::MulAdd(square.hi, constant(static_cast<float>(0.044715 - 0.044715f)), p.lo);
  const VF q = hn::Add(one, p.hi);
  const VF q_lo = hn::Add(hn::Add(hn::Sub(one, q), p.hi), p.lo);
  const double scale = 1.5957691216057307;
  const VF scale_hi = constant(static_cast<float>(scale));
  const VF scale_lo = constant(static_cast<float>(scale - static_cast<float>(scale)));
  Pair w = exact_product(t, scale_hi);
  w.lo = hn::MulAdd(t, scale_lo, w.lo);
  Pair v = exact_product(w.hi, q);
  v.lo = hn::Add(v.lo, hn::MulAdd(w.hi, q_lo, hn::Mul(w.lo, q)));
  return hn::Mul(x, sigmoid_from_exp(exp_minus_abs(v), x));
}

// x * Phi(x), where Phi(-t) = exp(-t^2 / 2) * P(u) / (1 + t) with u = (t - 3) / (t + 3).
HWY_INLINE VF gelu_erf(VF x) {
  const VF one = constant(1.0f);
  const VF half = constant(0.5f);
  const VF three = constant(3.0f);
  const VF t = hn::Min(hn::Abs(x), constant(14.5f));  // Phi(-t) is 0 for larger values
  const Pair square = exact_product(t, t);
  const VF e = exp_minus_abs(Pair{hn::Mul(square.hi, half), hn::Mul(square.lo, half)});
  const VF u = hn::Div(hn::Sub(t, three), hn::Add(t, three));
  const VF p =
      horner(u, 0.486055791f, -0.0965269431f, -0.0164321102f, 0.0451686308f, -0.0227290373f,
             0.00112663943f, 0.00299256481f, -0.000262082322f, -0.000443110766f, -6.21344589e-05f);
  const VF tail = hn::Div(hn::Mul(e, p), hn::Add(one, t));
  return hn::Mul(x, hn::IfThenElse(hn::Lt(x, zero()), tail, hn::Sub(one, tail)));
}

// With e = exp(-|x|), tanh(softplus(x)) is a ratio of polynomials in e.
HWY_INLINE VF mish(VF x) {
  const VF one = constant(1.0f);
  const VF two = constant(2.0f);
  const VF e = exp_vector(hn::Neg(hn::Abs(x)));
  const VF below = hn::Mul(e, hn::Add(e, two));
  const VF above = hn::MulAdd(two, e, one);
  const auto negative = hn::Lt(x, zero());
  const VF numerator = hn::IfThenElse(negative, below, above);
  const VF rest = hn::IfThenElse(negative, two, hn::Mul(two, hn::Mul(e, e)));
  return hn::Mul(x, hn::Div(numerator, hn::Add(numerator, rest)));
}

// (x + sqrt(x^2 + b)) / 2, without the cancellation for x < 0 or the overflow of x^2.
HWY_INLINE VF squareplus(VF x, VF b) {
  const VF a = hn::Abs(x);
  const VF exact_root = hn::Sqrt(hn::MulAdd(x, x, b));
  const VF root = hn::IfThenElse(hn::Gt(a, constant(1e10f)), a, exact_root);
  // The terms are halved before they are added, since their sum may overflow.
  const VF s = hn::MulAdd(root, constant(0.5f), hn::Mul(a, constant(0.5f)));
  const VF y = hn::IfThenElse(hn::Lt(x, zero()), hn::Div(hn::Mul(b, constant(0.25f)), s), s);
  const VF infinity = constant(HUGE_VALF);
  return hn::IfThenElse(hn::Eq(x, hn::Neg(infinity)), hn::NaN(DF()), y);  // as in JAX
}

// 0 for x <= -1, x for x >= 1, and (x + 1)^2 / 4 between.
HWY_INLINE VF sparse_plus(VF x) {
  const VF one = constant(1.0f);
  const VF t = hn::Add(x, one);
  const VF inner = hn::Mul(hn::Mul(t, t), constant(0.25f));
  const VF y = hn::IfThenElse(hn::Ge(x, one), x, inner);
  return hn::IfThenElse(hn::Le(x, constant(-1.0f)), zero(), y);
}

HWY_INLINE VF hard_sigmoid(VF x) {
  return hn::Div(clamp(hn::Add(x, constant(3.0f)), 0.0f, 6.0f), constant(6.0f));
}

// Equal operands may be zeros of different sign, of which +0 is the greater: the bitwise AND of
// both gives the maximum, the OR the minimum. A NaN operand gives NaN.
HWY_INLINE VF maximum(VF a, VF b) {
  const VF y = hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
  return hn::IfThenElse(hn::Eq(a, b), hn::And(a, b), y);
}
HWY_INLINE VF minimum(VF a, VF b) {
  const VF y = hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
  return hn::IfThenElse(hn::Eq(a, b), hn::Or(a, b), y);
}

#define SL_UNARY(Name, function, layer, parameter, vector, ...) \
  struct Name {                                                 \
    VF a;                                                       \
    HWY_INLINE VF operator()(VF x) const { return vector; }     \
  };
#define SL_UNARY_SCALAR(...)
#include "kernels/unary_functions.inc"

#define SL_BINARY(Name, vector, scalar)                           \
  struct Name {                                                   \
    HWY_INLINE VF operator()(VF a, VF b) const { return vector; } \
  };
#include "kernels/binary_functions.inc"

// The tail runs the same vector code, so an element's result does not depend on its position.
template <class Op>
void transform(const Op op, const float* x, float* y, int64_t n) {
  const DF d;
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) hn::StoreU(op(hn::LoadU(d, x + i)), d, y + i);
  if (i < n) store_some(op(load_some(x + i, n - i)), y + i, n - i);
}

template <class Op>
void transform(const Op op, const float* a, const float* b, float* y, int64_t n) {
  const DF d;
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(op(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  }
  if (i < n) store_some(op(load_some(a + i, n - i), load_some(b + i, n - i)), y + i, n - i);
}

struct MultiplyAdd {
  VF a;
  HWY_INLINE VF operator()(VF x, VF y) const { return hn::MulAdd(a, x, y); }
};

template <class Op>
struct WithScalar {
  VF b;
  HWY_INLINE VF operator()(VF a) const { return Op()(a, b); }
};

}  // namespace

void unary_all(Unary op, const float* x, float* y, int64_t n, float a) {
  const VF va = constant(a);
  switch (op) {
#define SL_UNARY(Name, ...) \
  case Unary::k##Name:      \
    return transform(Name{va}, x, y, n);
#define SL_UNARY_SCALAR(Name, ...) \
  case Unary::k##Name:             \
    return;  // not vectorised: the caller handles it
#include "kernels/unary_functions.inc"
  }
}

void binary_all(Binary op, const float* a, const float* b, float* y, int64_t n) {
  switch (op) {
#define SL_BINARY(Name, ...) \
  case Binary::k##Name:      \
    return transform(Name(), a, b, y, n);
#include "kernels/binary_functions.inc"
  }
}

void binary_scalar_all(Binary op, const float* a, float b, float* y, int64_t n) {
  const VF vb = constant(b);
  switch (op) {
#define SL_BINARY(Name, ...) \
  case Binary::k##Name:      \
    return transform(WithScalar<Name>{vb}, a, y, n);
#include "kernels/binary_functions.inc"
  }
}

void axpy_all(float a, const float* x, float* y, int64_t n) {
  transform(MultiplyAdd{constant(a)}, x, y, y, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(unary_all);
HWY_EXPORT(binary_all);
HWY_EXPORT(binary_scalar_all);
HWY_EXPORT(axpy_all);

namespace {

// log(1 - exp(-x)), by the one of two forms that does not cancel at x.
float log1mexp(float x) {
  const double wide = x;
  const bool small = wide < 0.69314718055994530942;
  return static_cast<float>(small ? std::log(-std::expm1(-wide)) : std::log1p(-std::exp(-wide)));
}

// Functions that are not vectorised.
namespace one_by_one {
#define SL_UNARY(...)
#define SL_UNARY_SCALAR(Name, function, layer, parameter, scalar, ...)            \
  void Name(const float* values, float* y, int64_t n, [[maybe_unused]] float a) { \
    for (int64_t i = 0; i < n; ++i) {                                             \
      const float x = values[i];                                                  \
      y[i] = scalar;                                                              \
    }                                                                             \
  }
#include "kernels/unary_functions.inc"
}  // namespace one_by_one

// An exponent that a faster function computes.
Unary faster(Unary op, float a) {
  if (op != Unary::kPower) return op;
  if (a == 2.0f) return Unary::kSquare;
  if (a == 0.5f) return Unary::kSqrt;
  return a == 1.0f ? Unary::kIdentity : op;
}

}  // namespace

void unary(Unary op, const float* x, float* y, int64_t n, float a) {
  if (n <= 0) return;
  op = faster(op, a);
  switch (op) {
#define SL_UNARY(...)
#define SL_UNARY_SCALAR(Name, ...) \
  case Unary::k##Name:             \
    return one_by_one::Name(x, y, n, a);
#include "kernels/unary_functions.inc"
    default:
      return HWY_DYNAMIC_DISPATCH(unary_all)(op, x, y, n, a);
  }
}

void binary(Binary op, const float* a, const float* b, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(binary_all)(op, a, b, y, n);
}

void binary_scalar(Binary op, const float* a, float b, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(binary_scalar_all)(op, a, b, y, n);
}

void axpy(float a, const float* x, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(axpy_all)(a, x, y, n);
}

}  // namespace sl::kernels
#endif  // HWY_ONCE
