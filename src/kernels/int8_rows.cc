#include "kernels/int8_rows.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/int8_rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using D8 = hn::Rebind<int8_t, DI>;

// The inverse of a smaller scale could overflow.
constexpr float kNegligible = 1e-36f;

HWY_INLINE void encode_row(const float* x, int64_t width, int8_t* row) {
  VI bits = hn::Zero(DI());
  for (int64_t i = 0; i < width; i += kFloatLanes) {
    // Magnitudes compare like their bits, NaN being the largest.
    bits = hn::Max(bits, hn::BitCast(DI(), hn::Abs(hn::LoadU(DF(), x + i))));
  }
  const float largest = hn::GetLane(hn::BitCast(DF(), hn::MaxOfLanes(DI(), bits)));
  float scale = largest / 127.0f, inverse = 127.0f / largest;
  if (!(largest <= std::numeric_limits<float>::max())) {
    scale = std::numeric_limits<float>::quiet_NaN();
  } else if (largest < kNegligible) {
    scale = inverse = 0;
  }
  std::memcpy(row + width, &scale, sizeof(scale));
  if (!(scale > 0)) return static_cast<void>(std::fill_n(row, width, int8_t{0}));
  for (int64_t i = 0; i < width; i += kFloatLanes) {
    const VI q = hn::NearestInt(hn::Mul(hn::LoadU(DF(), x + i), constant(inverse)));
    hn::StoreU(hn::DemoteTo(D8(), q), D8(), row + i);
  }
}

HWY_INLINE void decode_row(const int8_t* row, int64_t width, float* y) {
  float scale;
  std::memcpy(&scale, row + width, sizeof(scale));
  for (int64_t i = 0; i < width; i += kFloatLanes) {
    const VI q = hn::PromoteTo(DI(), hn::LoadU(D8(), row + i));
    hn::StoreU(hn::Mul(hn::ConvertTo(DF(), q), constant(scale)), DF(), y + i);
  }
}

}  // namespace

void f32_to_int8_rows_all(const float* x, int64_t x_stride, int64_t count, int64_t width,
                          int8_t* rows) {
  for (int64_t i = 0; i < count; ++i, x += x_stride, rows += int8_row_bytes(width)) {
    encode_row(x, width, rows);
  }
}

void int8_rows_to_f32_all(const int8_t* rows, int64_t count, int64_t width, float* y) {
  for (int64_t i = 0; i < count; ++i, rows += int8_row_bytes(width), y += width) {
    decode_row(rows, width, y);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(f32_to_int8_rows_all);
HWY_EXPORT(int8_rows_to_f32_all);

void f32_to_int8_rows(const float* x, int64_t x_stride, int64_t count, int64_t width,
                      int8_t* rows) {
  HWY_DYNAMIC_DISPATCH(f32_to_int8_rows_all)(x, x_stride, count, width, rows);
}

void int8_rows_to_f32(const int8_t* rows, int64_t count, int64_t width, float* y) {
  HWY_DYNAMIC_DISPATCH(int8_rows_to_f32_all)(rows, count, width, y);
}

}  // namespace sl::kernels
#endif  // HWY_ONCE
