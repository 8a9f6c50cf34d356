#include "kernels/convert.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convert.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

// Each 32-bit lane holds one 16-bit value.
using DU = hn::RebindToUnsigned<DF>;
using VU = hn::Vec<DU>;
using D16 = hn::Rebind<uint16_t, DU>;

HWY_INLINE VU word(uint32_t value) { return hn::Set(DU(), value); }
HWY_INLINE VU bits(VF x) { return hn::BitCast(DU(), x); }
HWY_INLINE VF from_bits(VU x) { return hn::BitCast(DF(), x); }

struct Bf16 {
  static HWY_INLINE VF widen(VU x) { return from_bits(hn::ShiftLeft<16>(x)); }

  static HWY_INLINE VU narrow(VF x) {
    const VU b = bits(x);
    const VU odd = hn::And(hn::ShiftRight<16>(b), word(1));
    const VU rounded = hn::ShiftRight<16>(hn::Add(b, hn::Add(odd, word(0x7FFF))));
    const VU quiet = hn::Or(hn::ShiftRight<16>(b), word(0x40));  // rounding could clear a NaN
    return hn::IfThenElse(hn::RebindMask(DU(), hn::IsNaN(x)), quiet, rounded);
  }
};

// Uses integer and float arithmetic only, for targets without conversion instructions, by the
// method of M. Dukhan's FP16 library.
struct F16 {
  static HWY_INLINE VF widen(VU x) {
    const VU sign = hn::ShiftLeft<16>(hn::And(x, word(0x8000)));
    const VU rest = hn::And(x, word(0x7FFF));
    // Rebias the exponent by 224 and multiply by 2^-112: infinity and NaN come out right.
    const VU rebiased = hn::Add(hn::ShiftLeft<13>(rest), word(0xE0u << 23));
    const VF normal = hn::Mul(from_bits(rebiased), constant(0x1p-112f));
    const VF subnormal = hn::Sub(from_bits(hn::Or(rest, word(126u << 23))), constant(0.5f));
    const auto small = hn::RebindMask(DF(), hn::Lt(rest, word(0x400)));
    return from_bits(hn::Or(sign, bits(hn::IfThenElse(small, subnormal, normal))));
  }

  static HWY_INLINE VU narrow(VF x) {
    const VU sign = hn::And(hn::ShiftRight<16>(bits(x)), word(0x8000));
    const VF a = hn::Abs(x);
    // The first product turns values that overflow float16 into infinity. Adding a power of two
    // that depends on the exponent then rounds to the 11 bits of float16's significand.
    const VF scaled = hn::Mul(hn::Mul(a, constant(0x1p+112f)), constant(0x1p-110f));
    const VU exponent = hn::Max(hn::And(bits(a), word(0x7F800000u)), word(0x38800000u));
    const VU b = bits(hn::Add(scaled, from_bits(hn::Add(exponent, word(0x07800000u)))));
    const VU finite =
        hn::Add(hn::And(hn::ShiftRight<13>(b), word(0x7C00)), hn::And(b, word(0x0FFF)));
    const auto nan = hn::RebindMask(DU(), hn::IsNaN(x));
    return hn::Or(sign, hn::IfThenElse(nan, word(0x7E00), finite));
  }
};

HWY_INLINE void store_words(VU x, uint16_t* y) {
  hn::StoreU(hn::DemoteTo(D16(), hn::BitCast(DI(), x)), D16(), y);
}

template <class Type>
HWY_INLINE void widen_all(const uint16_t* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(Type::widen(hn::PromoteTo(DU(), hn::LoadU(D16(), x + i))), DF(), y + i);
  }
  if (i == n) return;
  HWY_ALIGN uint16_t buffer[kFloatLanes] = {};
  std::copy_n(x + i, n - i, buffer);
  store_some(Type::widen(hn::PromoteTo(DU(), hn::LoadU(D16(), buffer))), y + i, n - i);
}

template <class Type>
HWY_INLINE void narrow_all(const float* x, uint16_t* y, int64_t n) {
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    store_words(Type::narrow(hn::LoadU(DF(), x + i)), y + i);
  }
  if (i == n) return;
  HWY_ALIGN uint16_t buffer[kFloatLanes];
  store_words(Type::narrow(load_some(x + i, n - i)), buffer);
  std::copy_n(buffer, n - i, y + i);
}

template <class Type>
HWY_INLINE void round_all(float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(Type::widen(Type::narrow(hn::LoadU(DF(), x + i))), DF(), x + i);
  }
  if (i < n) store_some(Type::widen(Type::narrow(load_some(x + i, n - i))), x + i, n - i);
}

}  // namespace

void bf16_to_f32_all(const uint16_t* x, float* y, int64_t n) { widen_all<Bf16>(x, y, n); }
void f32_to_bf16_all(const float* x, uint16_t* y, int64_t n) { narrow_all<Bf16>(x, y, n); }
void f16_to_f32_all(const uint16_t* x, float* y, int64_t n) { widen_all<F16>(x, y, n); }
void f32_to_f16_all(const float* x, uint16_t* y, int64_t n) { narrow_all<F16>(x, y, n); }
void round_to_bf16_all(float* x, int64_t n) { round_all<Bf16>(x, n); }
void round_to_f16_all(float* x, int64_t n) { round_all<F16>(x, n); }

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(bf16_to_f32_all);
HWY_EXPORT(f32_to_bf16_all);
HWY_EXPORT(f16_to_f32_all);
HWY_EXPORT(f32_to_f16_all);
HWY_EXPORT(round_to_bf16_all);
HWY_EXPORT(round_to_f16_all);

void bf16_to_f32(const uint16_t* x, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(bf16_to_f32_all)(x, y, n);
}

void f32_to_bf16(const float* x, uint16_t* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(f32_to_bf16_all)(x, y, n);
}

void f16_to_f32(const uint16_t* x, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(f16_to_f32_all)(x, y, n);
}

void f32_to_f16(const float* x, uint16_t* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(f32_to_f16_all)(x, y, n);
}

void round_to_bf16(float* x, int64_t n) { HWY_DYNAMIC_DISPATCH(round_to_bf16_all)(x, n); }

void round_to_f16(float* x, int64_t n) { HWY_DYNAMIC_DISPATCH(round_to_f16_all)(x, n); }

namespace reference {

namespace {

// Rounds |x| to a multiple of 2^quantum_exponent, ties to even.
double round_to_multiple(double x, int quantum_exponent) {
  return std::ldexp(std::nearbyint(std::ldexp(x, -quantum_exponent)), quantum_exponent);
}

// Converts from and to a 16-bit format with `fraction` fraction bits and the exponent bias `bias`.
// It computes with values rather than bits, so that it shares no method with the kernels.
float decode(uint16_t x, int fraction, int bias) {
  const int exponent = (x & 0x7FFF) >> fraction;
  const int mantissa = x & ((1 << fraction) - 1);
  const float sign = (x & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 2 * bias + 1) {
    return mantissa != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * HUGE_VALF;
  }
  const int hidden = exponent != 0 ? 1 << fraction : 0;
  return sign *
         std::ldexp(static_cast<float>(hidden + mantissa), std::max(exponent, 1) - bias - fraction);
}

uint16_t encode(float x, int fraction, int bias) {
  const int sign = std::signbit(x) ? 0x8000 : 0;
  const int infinity = (2 * bias + 1) << fraction;
  if (std::isnan(x)) return static_cast<uint16_t>(sign | infinity | (1 << (fraction - 1)));
  if (std::isinf(x)) return static_cast<uint16_t>(sign | infinity);
  const double a = std::abs(static_cast<double>(x));
  if (a == 0.0) return static_cast<uint16_t>(sign);
  const int exponent = std::max(std::ilogb(a), 1 - bias);
  const double units = std::ldexp(round_to_multiple(a, exponent - fraction), fraction - exponent);
  // A carry out of the fraction, or out of the subnormals, adds to the exponent field by itself.
  const int field = exponent + bias - 1;
  const int code = static_cast<int>(units) + (field << fraction);
  return static_cast<uint16_t>(sign | std::min(code, infinity));
}

}  // namespace

float bf16_to_f32(uint16_t x) { return decode(x, 7, 127); }
uint16_t f32_to_bf16(float x) { return encode(x, 7, 127); }
float f16_to_f32(uint16_t x) { return decode(x, 10, 15); }
uint16_t f32_to_f16(float x) { return encode(x, 10, 15); }

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
