#include "kernels/fir.h"

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fir.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

// Computes kVectors vectors of outputs. All taps are added in registers.
template <int kVectors>
HWY_INLINE void fir_vectors(const float* x, int64_t tap_stride, const float* w, int64_t taps,
                            float* y) {
  const DF d;
  VF acc[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) acc[v] = hn::Zero(d);
  for (int64_t k = 0; k < taps; ++k, x += tap_stride) {
    const VF tap = hn::Set(d, w[k]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      acc[v] = hn::MulAdd(hn::LoadU(d, x + v * kFloatLanes), tap, acc[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[v], d, y + v * kFloatLanes);
}

}  // namespace

void fir_all(const float* x, int64_t tap_stride, const float* w, int64_t taps, int64_t n,
             float* y) {
  int64_t i = 0;
  for (; i + 8 * kFloatLanes <= n; i += 8 * kFloatLanes) {
    fir_vectors<8>(x + i, tap_stride, w, taps, y + i);
  }
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    fir_vectors<1>(x + i, tap_stride, w, taps, y + i);
  }
  if (i == n) return;
  VF acc = hn::Zero(DF());
  for (int64_t k = 0; k < taps; ++k) {
    acc = hn::MulAdd(load_some(x + k * tap_stride + i, n - i), hn::Set(DF(), w[k]), acc);
  }
  store_some(acc, y + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(fir_all);

void fir(const float* x, int64_t tap_stride, const float* w, int64_t taps, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(fir_all)(x, tap_stride, w, taps, n, y);
}

namespace reference {

void fir(const float* x, int64_t tap_stride, const float* w, int64_t taps, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    double total = 0;
    for (int64_t k = 0; k < taps; ++k) {
      total += static_cast<double>(x[k * tap_stride + i]) * w[k];
    }
    y[i] = static_cast<float>(total);
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
