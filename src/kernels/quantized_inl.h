// Quantized rows of x, and products of their groups with those of packed weights, compiled once per
// instruction set: include it after "kernels/panel_inl.h".
#if defined(SL_KERNELS_QUANTIZED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_QUANTIZED_INL_H_
#undef SL_KERNELS_QUANTIZED_INL_H_
#else
#define SL_KERNELS_QUANTIZED_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "kernels/panel_inl.h"
#include "kernels/quantized_layout.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using DI = hn::RebindToSigned<DF>;
using VI = hn::Vec<DI>;
constexpr int kGroup = static_cast<int>(kQuantizedGroup);

// Sums of four products in a lane. AVX-512 VNNI multiplies unsigned bytes of weights with signed
// bytes of x. Other instruction sets multiply 16-bit values in pairs, which cannot overflow: the
// sum of two products of bytes would not fit into the 16 bits of AVX2's product of bytes.
#if HWY_TARGET == HWY_AVX3_DL
#define SL_QUANTIZED_BYTES 1
#elif HWY_TARGET == HWY_SCALAR
#define SL_QUANTIZED_BYTES 1
#else
#define SL_QUANTIZED_BYTES 0
#endif

// A group of a quantized row: its values are scale * q.
struct RowGroup {
#if SL_QUANTIZED_BYTES
  int8_t q[kGroup];
#else
  int16_t q[kGroup];  // of each 4 values, 0 and 2 come before 1 and 3
#endif
  float scale;
  int32_t offset;  // -128 times the sum of q, which makes up for the 128 added to int8 weights
};

// Loads a vector of scales.
HWY_INLINE VF load_scales(const uint8_t* bfloat16) {
  const hn::Rebind<uint16_t, DU> d16;
  const auto halves = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(bfloat16));
  return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), halves)));
}

#if HWY_TARGET != HWY_SCALAR
#if SL_QUANTIZED_BYTES

struct Quad {  // four values of each column, or of a row
  VI q;
};

HWY_INLINE Quad row_quad(const RowGroup& x, int i) {
  int32_t bytes;
  std::memcpy(&bytes, x.q + 4 * i, sizeof(bytes));
  return {hn::Set(DI(), bytes)};
}

HWY_INLINE Quad weight_quad(VI bytes) { return {bytes}; }

HWY_INLINE VI add_products(VI sum, Quad w, Quad x) {
  // Highway checks for VNNI before it chooses this target, but compiles it without VNNI.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(w.q.raw), "v"(x.q.raw));
  return sum;
}

template <int kHigh>
HWY_INLINE VI nibbles(VI bytes) {
  return hn::And(kHigh ? hn::ShiftRight<4>(bytes) : bytes, hn::Set(DI(), 0x0F0F0F0F));
}

template <int kHigh>
HWY_INLINE Quad nibble_quad(VI bytes) {
  return {nibbles<kHigh>(bytes)};
}

#else

struct Quad {  // values 0 and 2, and 1 and 3, in the halves of 32-bit lanes
  VI even;
  VI odd;
};

HWY_INLINE Quad row_quad(const RowGroup& x, int i) {
  int32_t pairs[2];
  std::memcpy(pairs, x.q + 4 * i, sizeof(pairs));
  return {hn::Set(DI(), pairs[0]), hn::Set(DI(), pairs[1])};
}

// Moves bits [kShift, kShift + 4 or 8) of each 16-bit half of a lane down.
template <int kShift>
HWY_INLINE VI halves(VI bytes, int32_t mask) {
  VI moved = bytes;
  if constexpr (kShift > 0) moved = hn::ShiftRight<kShift>(bytes);
  return hn::And(moved, hn::Set(DI(), mask));
}

HWY_INLINE Quad weight_quad(VI bytes) {
  return {halves<0>(bytes, 0x00FF00FF), halves<8>(bytes, 0x00FF00FF)};
}

template <int kHigh>
HWY_INLINE Quad nibble_quad(VI bytes) {
  return {halves < kHigh ? 4 : 0 > (bytes, 0x000F000F),
          halves < kHigh ? 12 : 8 > (bytes, 0x000F000F)};
}

// The sum of the products of the halves of a lane.
HWY_INLINE VI multiply_halves(VI a, VI b) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  return VI{_mm512_madd_epi16(a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_madd_epi16(a.raw, b.raw)};
#elif HWY_ARCH_X86
  return VI{_mm_madd_epi16(a.raw, b.raw)};
#else
  const VI low =
      hn::Mul(hn::ShiftRight<16>(hn::ShiftLeft<16>(a)), hn::ShiftRight<16>(hn::ShiftLeft<16>(b)));
  return hn::Add(low, hn::Mul(hn::ShiftRight<16>(a), hn::ShiftRight<16>(b)));
#endif
}

HWY_INLINE VI add_products(VI sum, Quad w, Quad x) {
  sum = hn::Add(sum, multiply_halves(w.even, x.even));
  return hn::Add(sum, multiply_halves(w.odd, x.odd));
}

#endif  // SL_QUANTIZED_BYTES
#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
