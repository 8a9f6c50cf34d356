// Sums of products for the gates of recurrent cells, included as simd_math_inl.h is. They have the
// bits of gemm_packed, because both add the products of one output in order of depth.

#if defined(SL_KERNELS_SIMD_RECURRENT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_SIMD_RECURRENT_INL_H
#undef SL_KERNELS_SIMD_RECURRENT_INL_H
#else
#define SL_KERNELS_SIMD_RECURRENT_INL_H
#endif

#include "kernels/gemm_inl.h"
#include "kernels/prefetch.h"
#include "kernels/recurrent_step.h"
#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

using gemm_detail::kPanel;

// Vectors of one gate that are computed at once: a cache line, if there are registers for it.
constexpr int kGateVectors = HWY_MIN(2, static_cast<int>(kPanel / kFloatLanes));

template <int kGates, int kVectors>
struct GateSums {
  VF v[kGates][kVectors];
};

// The weights of some units: for each gate the panels that have them.
struct GatePanels {
  const float* w;
  int64_t gate_stride;
  int64_t vector_stride;
};

HWY_INLINE GatePanels gate_panels(const float* packed, int64_t k, int64_t units, int64_t unit) {
  return {packed + unit / kPanel * kPanel * k + unit % kPanel, units * k,
          kFloatLanes == kPanel ? kPanel * k : kFloatLanes};
}

// The sums start with `from` [gates, units], or with zeros if it is null.
template <int kGates, int kVectors>
HWY_INLINE GateSums<kGates, kVectors> gate_start(const float* from, int64_t units, int64_t unit) {
  const DF d;
  GateSums<kGates, kVectors> sums;
  for (int g = 0; g < kGates; ++g) {
    for (int v = 0; v < kVectors; ++v) {
      sums.v[g][v] = from ? hn::LoadU(d, from + g * units + unit + v * kFloatLanes) : hn::Zero(d);
    }
  }
  return sums;
}

// Adds the products of row p of the panels. What follows a panel is that of the next units, so that
// prefetching goes on there.
template <bool kPrefetch, int kGates, int kVectors>
HWY_INLINE void add_gate_row(const float* x, int64_t p, const GatePanels& panels,
                             GateSums<kGates, kVectors>& sums) {
  const DF d;
  const VF a = hn::Set(d, x[p]);
  const float* w = panels.w + p * kPanel;
#pragma GCC unroll 16
  for (int g = 0; g < kGates; ++g) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const float* from = w + g * panels.gate_stride + v * panels.vector_stride;
      if constexpr (kPrefetch) {
        if (v == 0 || kFloatLanes == kPanel) prefetch_into_l2(from + gemm_detail::kAhead * kPanel);
      }
      sums.v[g][v] = hn::MulAdd(a, hn::LoadU(d, from), sums.v[g][v]);
    }
  }
}

// Adds the products of all rows. The CPU predicts the end of a loop of few rounds, and so goes on
// to read the next weights: a GRU of 64 units takes 4 % less time for it, one of 256 units 8 %.
template <bool kPrefetch, int kGates, int kVectors>
HWY_INLINE void add_gate_rows(const float* x, int64_t rows, const GatePanels& panels,
                              GateSums<kGates, kVectors>& sums) {
  constexpr int64_t kRound = 8;
  int64_t p = 0;
  for (; p + kRound <= rows; p += kRound) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kRound; ++i) add_gate_row<kPrefetch>(x, p + i, panels, sums);
  }
#pragma GCC unroll 1
  for (; p < rows; ++p) add_gate_row<kPrefetch>(x, p, panels, sums);
}

// Whether the columns of `gates` gates fill panels and groups, so that no sum is split in parts.
HWY_INLINE bool gates_fill_groups(int64_t gates, int64_t units) {
  return units % kPanel == 0 && gates * units % column_group_all() == 0;
}

template <int kCount>
struct Vectors {
  static constexpr int kSize = kCount;
};

// Calls fn(Vectors<n>, first unit) for each n = kVectors vectors of units of the step, and for each
// single vector of the rest. n is a constant of the type.
template <int kVectors, class Fn>
HWY_INLINE void for_gate_units(const RecurrentStep& s, Fn&& fn) {
  constexpr int64_t kWidth = kVectors * kFloatLanes;
  const int64_t count = (s.end - s.begin) / kWidth, end = s.begin + count * kWidth;
  if (s.backwards && end < s.end) fn(Vectors<kGateVectors>(), end);
  for (int64_t i = 0; i < count; ++i) {
    fn(Vectors<kVectors>(), s.begin + (s.backwards ? count - 1 - i : i) * kWidth);
  }
  if (!s.backwards && end < s.end) fn(Vectors<kGateVectors>(), end);
}

// Whether the weights come from memory or a slow cache at each step, and are worth prefetching.
HWY_INLINE bool has_large_weights(const RecurrentStep& s, int64_t gates) {
  constexpr int64_t kLarge = 4 * kLargeWeights;
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
