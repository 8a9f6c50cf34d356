#include "kernels/depthwise.h"

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

struct Frame {
  const float* x;
  int64_t tap_stride;
  const float* w;
  const float* bias;
  int64_t taps;
  int64_t channels;
  int64_t multiplier;
  float* y;
};

// Vectors of channels whose sums are in registers together.
constexpr int kWide = HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86 ? 16 : 8;

// Inputs that no L1 cache keeps beside the weights. Their taps are prefetched that far ahead.
constexpr int64_t kLargeInputs = 1 << 12;
constexpr int64_t kTapsAhead = 4;

// Computes kVectors vectors of channels from channel c on for multiplier 1. All taps are added in
// registers.
template <int kVectors, bool kPrefetches>
HWY_INLINE void single_vectors(const Frame& f, int64_t c) {
  const DF d;
  VF acc[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    acc[v] = f.bias != nullptr ? hn::LoadU(d, f.bias + c + v * kFloatLanes) : hn::Zero(d);
  }
  const float* x = f.x + c;
  const float* w = f.w + c;
  const float* ahead = x + HWY_MIN(kTapsAhead, f.taps) * f.tap_stride;
  for (int64_t k = 0; k < f.taps; ++k, x += f.tap_stride, w += f.channels) {
    if constexpr (kPrefetches) {
      // Behind the last tap, the channels that come next.
      if (k + kTapsAhead == f.taps) ahead = f.x + c + kVectors * kFloatLanes;
#pragma GCC unroll 16
      for (int v = 0; v < kVectors * kFloatLanes; v += 16) hwy::Prefetch(ahead + v);
      ahead += f.tap_stride;
    }
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      acc[v] =
          hn::MulAdd(hn::LoadU(d, x + v * kFloatLanes), hn::LoadU(d, w + v * kFloatLanes), acc[v]);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[v], d, f.y + c + v * kFloatLanes);
}

// The last `count` channels, fewer than a vector.
HWY_INLINE void single_tail(const Frame& f, int64_t c, int64_t count) {
  VF acc = f.bias != nullptr ? load_some(f.bias + c, count) : hn::Zero(DF());
  for (int64_t k = 0; k < f.taps; ++k) {
    acc = hn::MulAdd(load_some(f.x + k * f.tap_stride + c, count),
                     load_some(f.w + k * f.channels + c, count), acc);
  }
  store_some(acc, f.y + c, count);
}

HWY_INLINE void single(const Frame& f) {
  constexpr int64_t kWidth = kWide * kFloatLanes;
  int64_t c = 0;
  if (f.taps * f.channels >= kLargeInputs) {
    for (; c + kWidth <= f.channels; c += kWidth) single_vectors<kWide, true>(f, c);
  }
  for (; c + 4 * kFloatLanes <= f.channels; c += 4 * kFloatLanes) single_vectors<4, false>(f, c);
  for (; c + kFloatLanes <= f.channels; c += kFloatLanes) single_vectors<1, false>(f, c);
  if (c < f.channels) single_tail(f, c, f.channels - c);
}

// Computes output q alone, for channels that do not fill a vector.
HWY_INLINE float multiple_output(const Frame& f, int64_t q) {
  const int64_t outputs = f.channels * f.multiplier;
  float total = f.bias != nullptr ? f.bias[q] : 0.0f;
  for (int64_t k = 0; k < f.taps; ++k) {
    total += f.x[k * f.tap_stride + q / f.multiplier] * f.w[k * outputs + q];
  }
  return total;
}

// With any multiplier M, one vector of channels gives M vectors of outputs. In each of these M
// parts, a table lookup gives every output lane the input of its channel.
HWY_INLINE void multiple(const Frame& f) {
  const DF d;
  const int64_t outputs = f.channels * f.multiplier;
  const int64_t whole = f.channels - f.channels % kFloatLanes;
  for (int64_t part = 0; part < f.multiplier; ++part) {
    HWY_ALIGN int32_t lanes[kFloatLanes];
    for (int64_t i = 0; i < kFloatLanes; ++i) {
      lanes[i] = static_cast<int32_t>((part * kFloatLanes + i) / f.multiplier);
    }
    const auto indices = hn::SetTableIndices(d, lanes);
    for (int64_t c = 0; c < whole; c += kFloatLanes) {
      const int64_t q = c * f.multiplier + part * kFloatLanes;
      VF acc = f.bias != nullptr ? hn::LoadU(d, f.bias + q) : hn::Zero(d);
      for (int64_t k = 0; k < f.taps; ++k) {
        const VF x = hn::TableLookupLanes(hn::LoadU(d, f.x + k * f.tap_stride + c), indices);
        acc = hn::MulAdd(x, hn::LoadU(d, f.w + k * outputs + q), acc);
      }
      hn::StoreU(acc, d, f.y + q);
    }
  }
  for (int64_t q = whole * f.multiplier; q < outputs; ++q) f.y[q] = multiple_output(f, q);
}

}  // namespace

void depthwise_all(const float* x, int64_t tap_stride, const float* w, const float* bias,
                   int64_t taps, int64_t channels, int64_t multiplier, float* y) {
  const Frame f{x, tap_stride, w, bias, taps, channels, multiplier, y};
  if (multiplier == 1) {
    single(f);
  } else {
    multiple(f);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(depthwise_all);

void depthwise(const float* x, int64_t tap_stride, const float* w, const float* bias, int64_t taps,
               int64_t channels, int64_t multiplier, float* y) {
  HWY_DYNAMIC_DISPATCH(depthwise_all)(x, tap_stride, w, bias, taps, channels, multiplier, y);
}

namespace reference {

void depthwise(const float* x, int64_t tap_stride, const float* w, const float* bias, int64_t taps,
               int64_t channels, int64_t multiplier, float* y) {
  const int64_t outputs = channels * multiplier;
  for (int64_t q = 0; q < outputs; ++q) {
    double total = bias != nullptr ? bias[q] : 0.0f;
    for (int64_t k = 0; k < taps; ++k) {
      total += static_cast<double>(x[k * tap_stride + q / multiplier]) * w[k * outputs + q];
    }
    y[q] = static_cast<float>(total);
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
