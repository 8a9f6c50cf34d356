// Sums and extremes of arrays, shared by the kernels: included as simd_math_inl.h is.

#if defined(SL_KERNELS_SIMD_REDUCE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_SIMD_REDUCE_INL_H
#undef SL_KERNELS_SIMD_REDUCE_INL_H
#else
#define SL_KERNELS_SIMD_REDUCE_INL_H
#endif

#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

// A step of a reduction: operator() takes the next element of each array into a running value,
// `combine` joins two running values, `finish` the lanes of one. Elements past the end of the
// arrays are read as `pad`, which must leave the running value unchanged.
struct SumStep {
  static constexpr float kIdentity = 0.0f;
  HWY_INLINE float pad() const { return 0.0f; }
  HWY_INLINE VF operator()(VF total, VF x) const { return hn::Add(total, x); }
  HWY_INLINE VF operator()(VF total, VF x, VF y) const { return hn::MulAdd(x, y, total); }
  HWY_INLINE VF combine(VF a, VF b) const { return hn::Add(a, b); }
  HWY_INLINE float finish(VF v) const { return hn::GetLane(hn::SumOfLanes(DF(), v)); }
};

// Sums (x - mean)^2.
struct DeviationStep {
  static constexpr float kIdentity = 0.0f;
  float mean;
  HWY_INLINE float pad() const { return mean; }
  HWY_INLINE VF operator()(VF total, VF x) const {
    const VF difference = hn::Sub(x, constant(mean));
    return hn::MulAdd(difference, difference, total);
  }
  HWY_INLINE VF combine(VF a, VF b) const { return hn::Add(a, b); }
  HWY_INLINE float finish(VF v) const { return hn::GetLane(hn::SumOfLanes(DF(), v)); }
};

// Reduces n elements of the arrays `in`, which are read together. Four running values hide the
// latency of a step.
template <class Step, class... In>
HWY_INLINE float reduce(Step step, int64_t n, In... in) {
  const DF d;
  VF a = constant(Step::kIdentity);
  VF b = a;
  VF c = a;
  VF e = a;
  int64_t i = 0;
  for (; i + 4 * kFloatLanes <= n; i += 4 * kFloatLanes) {
    a = step(a, hn::LoadU(d, in + i)...);
    b = step(b, hn::LoadU(d, in + i + kFloatLanes)...);
    c = step(c, hn::LoadU(d, in + i + 2 * kFloatLanes)...);
    e = step(e, hn::LoadU(d, in + i + 3 * kFloatLanes)...);
  }
  for (; i + kFloatLanes <= n; i += kFloatLanes) a = step(a, hn::LoadU(d, in + i)...);
  if (i < n) b = step(b, load_some(in + i, n - i, step.pad())...);
  return step.finish(step.combine(step.combine(a, b), step.combine(c, e)));
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard toggle
