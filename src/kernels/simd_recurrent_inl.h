// Sums of products for the gates of recurrent cells, included as simd_math_inl.h is. They have the
// bits of gemm_packed, because both add the products of one output in order of depth.

#if defined(SL_KERNELS_SIMD_RECURRENT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_SIMD_RECURRENT_INL_H
#undef SL_KERNELS_SIMD_RECURRENT_INL_H
#else
#define SL_KERNELS_SIMD_RECURRENT_INL_H
#endif

#include <hwy/cache_control.h>

#include "kernels/gemm_inl.h"
#include "kernels/recurrent_step.h"
#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

using gemm_detail::kPanel;

// Vectors of one gate that are computed at once: a cache line, if there are registers for it.
constexpr int kGateVectors = HWY_MIN(2, static_cast<int>(kPanel / kFloatLanes));
constexpr int64_t kGateWidth = kGateVectors * kFloatLanes;

template <int kGates>
struct GateSums {
  VF v[kGates][kGateVectors];
};

// The weights of some units, one panel for each gate.
struct GatePanels {
  const float* w;
  int64_t gate_stride;
};

HWY_INLINE GatePanels gate_panels(const float* packed, int64_t k, int64_t units, int64_t unit) {
  return {packed + unit / kPanel * kPanel * k + unit % kPanel, units * k};
}

// The sums start with `from` [gates, units], or with zeros if it is null.
template <int kGates>
HWY_INLINE GateSums<kGates> gate_start(const float* from, int64_t units, int64_t unit) {
  const DF d;
  GateSums<kGates> sums;
  for (int g = 0; g < kGates; ++g) {
    for (int v = 0; v < kGateVectors; ++v) {
      sums.v[g][v] = from ? hn::LoadU(d, from + g * units + unit + v * kFloatLanes) : hn::Zero(d);
    }
  }
  return sums;
}

// Adds the products of row p of the panels. What follows a panel is that of the next units, so that
// prefetching goes on there.
template <int kGates, bool kPrefetch>
HWY_INLINE void add_gate_row(const float* x, int64_t p, const GatePanels& panels,
                             GateSums<kGates>& sums) {
  const DF d;
  const VF a = hn::Set(d, x[p]);
  const float* w = panels.w + p * kPanel;
#pragma GCC unroll 16
  for (int g = 0; g < kGates; ++g) {
    if constexpr (kPrefetch) {
      hwy::Prefetch(w + g * panels.gate_stride + gemm_detail::kAhead * kPanel);
    }
#pragma GCC unroll 16
    for (int v = 0; v < kGateVectors; ++v) {
      const VF b = hn::LoadU(d, w + g * panels.gate_stride + v * kFloatLanes);
      sums.v[g][v] = hn::MulAdd(a, b, sums.v[g][v]);
    }
  }
}

// Whether the columns of `gates` gates fill panels and groups, so that no sum is split in parts.
HWY_INLINE bool gates_fill_groups(int64_t gates, int64_t units) {
  return units % kPanel == 0 && gates * units % column_group_all() == 0;
}

// Calls fn(first unit) for each kGateWidth units of the step.
template <class Fn>
HWY_INLINE void for_gate_units(const RecurrentStep& s, Fn&& fn) {
  for (int64_t i = s.begin; i < s.end; i += kGateWidth) {
    fn(s.backwards ? s.begin + s.end - kGateWidth - i : i);
  }
}

// Whether the weights come from memory or a slow cache at each step, and are worth prefetching.
HWY_INLINE bool has_large_weights(const RecurrentStep& s, int64_t gates) {
  constexpr int64_t kLarge = 4 * gemm_detail::kLargeWeights;
  return gates * (s.end - s.begin) * (s.units + (s.x ? s.inputs : 0)) >= kLarge;
}

// Computes the input's product by gemm, for columns that do not fill groups.
HWY_INLINE void project_input(const RecurrentStep& s, int64_t gates) {
  if (!s.x) return;
  const int64_t n = gates * s.units;
  gemm_all({s.x, s.inputs, s.input_weights, s.inputs, n, s.input_bias, false, s.z, n}, 1);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard toggle
