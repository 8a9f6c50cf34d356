#include "kernels/rotation.h"

#include <algorithm>
#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rotation.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

// Largest angle, about 2^20 quarter turns, up to which the reduction below is accurate enough.
constexpr float kLargestReduced = 1.6e6f;

// Finds x = n * pi / 2 + r with an integer n and |r| of at most about pi / 4.
HWY_INLINE Reduced reduce_quarter_turns(VF x) {
  const VI n = hn::NearestInt(hn::Mul(x, constant(0.636619772f)));
  const VF nf = hn::ConvertTo(DF(), n);
  const double quarter = 1.57079632679489661923;
  const VF high = constant(static_cast<float>(quarter));
  const VF low = constant(static_cast<float>(quarter - static_cast<float>(quarter)));
  const Pair product = exact_product(nf, high);
  // The first difference is exact, and the rest is small.
  const VF r = hn::Sub(hn::Sub(x, product.hi), hn::MulAdd(nf, low, product.lo));
  return Reduced{n, r};
}

struct SinCos {
  VF sine;
  VF cosine;
};

// sin(x) and cos(x) for |x| <= kLargestReduced, with the polynomials of sinf and cosf from Cephes.
HWY_INLINE SinCos sin_cos_vector(VF x) {
  const DF d;
  const DI di;
  const auto [n, r] = reduce_quarter_turns(x);
  const VF z = hn::Mul(r, r);
  const VF sine = hn::MulAdd(hn::Mul(z, r),
                             horner(z, -1.6666654611e-1f, 8.3321608736e-3f, -1.9515295891e-4f), r);
  const VF tail = horner(z, 4.166664568298827e-2f, -1.388731625493765e-3f, 2.443315711809948e-5f);
  const VF cosine =
      hn::MulAdd(hn::Mul(z, z), tail, hn::NegMulAdd(constant(0.5f), z, constant(1.0f)));
  // An odd number of quarter turns swaps sine and cosine. Bit 1 of n gives the sign of the sine,
  // bit 1 of n + 1 that of the cosine.
  const auto odd = hn::MaskFromVec(hn::BitCast(d, hn::Neg(hn::And(n, hn::Set(di, 1)))));
  const VI two = hn::Set(di, 2);
  const VF sine_sign = hn::BitCast(d, hn::ShiftLeft<30>(hn::And(n, two)));
  const VF cosine_sign =
      hn::BitCast(d, hn::ShiftLeft<30>(hn::And(hn::Add(n, hn::Set(di, 1)), two)));
  return SinCos{hn::Xor(hn::IfThenElse(odd, cosine, sine), sine_sign),
                hn::Xor(hn::IfThenElse(odd, sine, cosine), cosine_sign)};
}

// One vector of angles. Angles that are too large for the reduction, or NaN, are rare and left to
// the standard library.
HWY_INLINE void sin_cos_block(const float* x, float* sine, float* cosine) {
  const DF d;
  const VF v = hn::LoadU(d, x);
  const auto is_small = hn::Le(hn::Abs(v), constant(kLargestReduced));
  const SinCos y = sin_cos_vector(hn::IfThenElseZero(is_small, v));
  if (hn::AllTrue(d, is_small)) {
    hn::StoreU(y.sine, d, sine);
    hn::StoreU(y.cosine, d, cosine);
    return;
  }
  HWY_ALIGN float angles[kFloatLanes];
  hn::Store(v, d, angles);
  hn::StoreU(y.sine, d, sine);
  hn::StoreU(y.cosine, d, cosine);
  for (int64_t i = 0; i < kFloatLanes; ++i) {
    if (std::fabs(angles[i]) <= kLargestReduced) continue;
    sine[i] = std::sin(angles[i]);
    cosine[i] = std::cos(angles[i]);
  }
}

}  // namespace

void sin_cos_all(const float* angles, float* sine, float* cosine, int64_t n) {
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) sin_cos_block(angles + i, sine + i, cosine + i);
  if (i == n) return;
  float x[kFloatLanes] = {}, s[kFloatLanes], c[kFloatLanes];
  std::copy_n(angles + i, n - i, x);
  sin_cos_block(x, s, c);
  std::copy_n(s, n - i, sine + i);
  std::copy_n(c, n - i, cosine + i);
}

void rotate_all(const float* a, const float* b, const float* sine, const float* cosine, float* ya,
                float* yb, int64_t n) {
  const DF d;
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    const VF s = hn::LoadU(d, sine + i), c = hn::LoadU(d, cosine + i);
    const VF va = hn::LoadU(d, a + i), vb = hn::LoadU(d, b + i);
    hn::StoreU(hn::MulSub(va, c, hn::Mul(vb, s)), d, ya + i);
    hn::StoreU(hn::MulAdd(vb, c, hn::Mul(va, s)), d, yb + i);
  }
  if (i == n) return;
  const VF s = load_some(sine + i, n - i), c = load_some(cosine + i, n - i);
  const VF va = load_some(a + i, n - i), vb = load_some(b + i, n - i);
  store_some(hn::MulSub(va, c, hn::Mul(vb, s)), ya + i, n - i);
  store_some(hn::MulAdd(vb, c, hn::Mul(va, s)), yb + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(sin_cos_all);
HWY_EXPORT(rotate_all);

void sin_cos(const float* angles, float* sine, float* cosine, int64_t n) {
  HWY_DYNAMIC_DISPATCH(sin_cos_all)(angles, sine, cosine, n);
}

void rotate(const float* a, const float* b, const float* sine, const float* cosine, float* ya,
            float* yb, int64_t n) {
  HWY_DYNAMIC_DISPATCH(rotate_all)(a, b, sine, cosine, ya, yb, n);
}

namespace reference {

void sin_cos(const float* angles, float* sine, float* cosine, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    sine[i] = static_cast<float>(std::sin(static_cast<double>(angles[i])));
    cosine[i] = static_cast<float>(std::cos(static_cast<double>(angles[i])));
  }
}

void rotate(const float* a, const float* b, const float* sine, const float* cosine, float* ya,
            float* yb, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double x = a[i], y = b[i], s = sine[i], c = cosine[i];
    ya[i] = static_cast<float>(x * c - y * s);
    yb[i] = static_cast<float>(y * c + x * s);
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
