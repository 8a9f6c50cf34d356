#include "kernels/pointwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

#define SL_UNARY(Name, expression)                              \
  struct Name {                                                 \
    HWY_INLINE VF operator()(VF x) const { return expression; } \
  };

SL_UNARY(Abs, hn::Abs(x))
SL_UNARY(Exp, exp_vector(x))
SL_UNARY(Log, log_vector(x))
SL_UNARY(Tanh, tanh_vector(x))
SL_UNARY(Sigmoid, sigmoid_vector(x))
SL_UNARY(Relu, relu(x))
SL_UNARY(Relu6, clamp(x, 0.0f, 6.0f))
SL_UNARY(Selu, hn::Mul(constant(1.05070098735548049f), elu(x, constant(1.67326324235437728f))))
SL_UNARY(GeluTanh, gelu_tanh(x))
SL_UNARY(GeluErf, gelu_erf(x))
SL_UNARY(Swish, hn::Mul(x, sigmoid_from_exp(exp_vector(hn::Neg(hn::Abs(x))), x)))
SL_UNARY(Softplus, softplus(x))
SL_UNARY(SoftSign, hn::Div(x, hn::Add(hn::Abs(x), constant(1.0f))))
SL_UNARY(LogSigmoid, hn::Neg(softplus(hn::Neg(x))))
SL_UNARY(HardTanh, clamp(x, -1.0f, 1.0f))
SL_UNARY(HardSigmoid, hn::Div(clamp(hn::Add(x, constant(3.0f)), 0.0f, 6.0f), constant(6.0f)))
SL_UNARY(HardSwish, hn::Mul(x, HardSigmoid()(x)))
SL_UNARY(Square, hn::Mul(x, x))
SL_UNARY(Sqrt, hn::Sqrt(x))
SL_UNARY(Mish, mish(x))
SL_UNARY(SquaredRelu, Square()(relu(x)))
SL_UNARY(SparsePlus, sparse_plus(x))
SL_UNARY(SparseSigmoid, hn::Mul(constant(0.5f), clamp(hn::Add(x, constant(1.0f)), 0.0f, 2.0f)))

#undef SL_UNARY

struct LeakyRelu {
  VF slope;
  HWY_INLINE VF operator()(VF x) const {
    return hn::IfThenElse(hn::Ge(x, zero()), x, hn::Mul(slope, x));
  }
};

struct Elu {
  VF alpha;
  HWY_INLINE VF operator()(VF x) const { return elu(x, alpha); }
};

struct Squareplus {
  VF b;
  HWY_INLINE VF operator()(VF x) const { return squareplus(x, b); }
};

struct Celu {
  VF alpha;
  HWY_INLINE VF operator()(VF x) const {
    const VF negative = hn::Mul(alpha, expm1_negative(hn::Div(x, alpha)));
    return hn::IfThenElse(hn::Gt(x, zero()), x, negative);
  }
};

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

struct Add {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Add(a, b); }
};
struct Subtract {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Sub(a, b); }
};
struct Multiply {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Mul(a, b); }
};
struct Divide {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Div(a, b); }
};

// Equal operands may be zeros of different sign, of which +0 is the greater: the bitwise AND of
// both gives the maximum, the OR the minimum. A NaN operand gives NaN.
struct Maximum {
  HWY_INLINE VF operator()(VF a, VF b) const {
    const VF y = hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
    return hn::IfThenElse(hn::Eq(a, b), hn::And(a, b), y);
  }
};
struct Minimum {
  HWY_INLINE VF operator()(VF a, VF b) const {
    const VF y = hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
    return hn::IfThenElse(hn::Eq(a, b), hn::Or(a, b), y);
  }
};
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
  switch (op) {
    case Unary::kAbs:
      return transform(Abs(), x, y, n);
    case Unary::kExp:
      return transform(Exp(), x, y, n);
    case Unary::kLog:
      return transform(Log(), x, y, n);
    case Unary::kTanh:
      return transform(Tanh(), x, y, n);
    case Unary::kSigmoid:
      return transform(Sigmoid(), x, y, n);
    case Unary::kRelu:
      return transform(Relu(), x, y, n);
    case Unary::kRelu6:
      return transform(Relu6(), x, y, n);
    case Unary::kLeakyRelu:
      return transform(LeakyRelu{constant(a)}, x, y, n);
    case Unary::kElu:
      return transform(Elu{constant(a)}, x, y, n);
    case Unary::kSelu:
      return transform(Selu(), x, y, n);
    case Unary::kCelu:
      return transform(Celu{constant(a)}, x, y, n);
    case Unary::kGeluTanh:
      return transform(GeluTanh(), x, y, n);
    case Unary::kGeluErf:
      return transform(GeluErf(), x, y, n);
    case Unary::kSwish:
      return transform(Swish(), x, y, n);
    case Unary::kSoftplus:
      return transform(Softplus(), x, y, n);
    case Unary::kSoftSign:
      return transform(SoftSign(), x, y, n);
    case Unary::kLogSigmoid:
      return transform(LogSigmoid(), x, y, n);
    case Unary::kHardTanh:
      return transform(HardTanh(), x, y, n);
    case Unary::kHardSigmoid:
      return transform(HardSigmoid(), x, y, n);
    case Unary::kHardSwish:
      return transform(HardSwish(), x, y, n);
    case Unary::kSquare:
      return transform(Square(), x, y, n);
    case Unary::kSqrt:
      return transform(Sqrt(), x, y, n);
    case Unary::kMish:
      return transform(Mish(), x, y, n);
    case Unary::kSquareplus:
      return transform(Squareplus{constant(a)}, x, y, n);
    case Unary::kSquaredRelu:
      return transform(SquaredRelu(), x, y, n);
    case Unary::kSparsePlus:
      return transform(SparsePlus(), x, y, n);
    case Unary::kSparseSigmoid:
      return transform(SparseSigmoid(), x, y, n);
    case Unary::kIdentity:
    case Unary::kSin:
    case Unary::kCos:
    case Unary::kPower:
    case Unary::kLog1mExp:
      return;  // not vectorised: the caller handles them
  }
}

void binary_all(Binary op, const float* a, const float* b, float* y, int64_t n) {
  switch (op) {
    case Binary::kAdd:
      return transform(Add(), a, b, y, n);
    case Binary::kSubtract:
      return transform(Subtract(), a, b, y, n);
    case Binary::kMultiply:
      return transform(Multiply(), a, b, y, n);
    case Binary::kDivide:
      return transform(Divide(), a, b, y, n);
    case Binary::kMaximum:
      return transform(Maximum(), a, b, y, n);
    case Binary::kMinimum:
      return transform(Minimum(), a, b, y, n);
  }
}

void binary_scalar_all(Binary op, const float* a, float b, float* y, int64_t n) {
  const VF vb = constant(b);
  switch (op) {
    case Binary::kAdd:
      return transform(WithScalar<Add>{vb}, a, y, n);
    case Binary::kSubtract:
      return transform(WithScalar<Subtract>{vb}, a, y, n);
    case Binary::kMultiply:
      return transform(WithScalar<Multiply>{vb}, a, y, n);
    case Binary::kDivide:
      return transform(WithScalar<Divide>{vb}, a, y, n);
    case Binary::kMaximum:
      return transform(WithScalar<Maximum>{vb}, a, y, n);
    case Binary::kMinimum:
      return transform(WithScalar<Minimum>{vb}, a, y, n);
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

void power(const float* x, float* y, int64_t n, float exponent) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::pow(x[i], exponent);
}

// log(1 - exp(-x)), by the one of two forms that does not cancel at x.
float log1mexp(float x) {
  const double wide = x;
  const bool small = wide < 0.69314718055994530942;
  return static_cast<float>(small ? std::log(-std::expm1(-wide)) : std::log1p(-std::exp(-wide)));
}

}  // namespace

void unary(Unary op, const float* x, float* y, int64_t n, float a) {
  if (n <= 0) return;
  if (op == Unary::kPower) {
    if (a == 2.0f) return unary(Unary::kSquare, x, y, n, a);
    if (a == 0.5f) return unary(Unary::kSqrt, x, y, n, a);
    if (a == 1.0f) return unary(Unary::kIdentity, x, y, n, a);
    return power(x, y, n, a);
  }
  switch (op) {
    case Unary::kIdentity:
      if (x != y) std::memmove(y, x, static_cast<size_t>(n) * sizeof(float));
      return;
    case Unary::kSin:
      for (int64_t i = 0; i < n; ++i) y[i] = std::sin(x[i]);
      return;
    case Unary::kCos:
      for (int64_t i = 0; i < n; ++i) y[i] = std::cos(x[i]);
      return;
    case Unary::kLog1mExp:
      for (int64_t i = 0; i < n; ++i) y[i] = log1mexp(x[i]);
      return;
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
