#include "kernels/reduce.h"

#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"
#include "kernels/simd_reduce_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

// Combines the lanes pairwise.
template <class Step>
HWY_INLINE float combine_lanes(Step step, VF v) {
  const DF d;
  HWY_ALIGN float lanes[2 * kFloatLanes];
  hn::Store(v, d, lanes);
  for (int64_t half = kFloatLanes / 2; half > 0; half /= 2) {
    hn::Store(constant(Step::kIdentity), d, lanes + kFloatLanes);
    hn::Store(step.combine(hn::Load(d, lanes), hn::LoadU(d, lanes + half)), d, lanes);
  }
  return lanes[0];
}

// Once the running value is NaN it stays NaN, since no comparison with NaN is true.
struct MaxStep {
  static constexpr float kIdentity = -HUGE_VALF;
  HWY_INLINE float pad() const { return kIdentity; }
  HWY_INLINE VF combine(VF a, VF b) const { return (*this)(a, b); }
  HWY_INLINE float finish(VF v) const { return combine_lanes(*this, v); }
  HWY_INLINE VF operator()(VF m, VF x) const {
    return hn::IfThenElse(hn::Or(hn::Gt(x, m), hn::IsNaN(x)), x, m);
  }
};

struct MinStep {
  static constexpr float kIdentity = HUGE_VALF;
  HWY_INLINE float pad() const { return kIdentity; }
  HWY_INLINE VF combine(VF a, VF b) const { return (*this)(a, b); }
  HWY_INLINE float finish(VF v) const { return combine_lanes(*this, v); }
  HWY_INLINE VF operator()(VF m, VF x) const {
    return hn::IfThenElse(hn::Or(hn::Lt(x, m), hn::IsNaN(x)), x, m);
  }
};

// Folds kVectors vectors of columns. All rows are combined in registers.
template <int kVectors, class Step>
HWY_INLINE void fold_vectors(Step step, const float* x, int64_t pitch, int64_t rows, float* y) {
  const DF d;
  VF acc[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) acc[v] = hn::LoadU(d, x + v * kFloatLanes);
  for (int64_t r = 1; r < rows; ++r) {
    x += pitch;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[v] = step(acc[v], hn::LoadU(d, x + v * kFloatLanes));
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[v], d, y + v * kFloatLanes);
}

// Goes forward and reads each column before it writes the result, so that y may be x.
template <class Step>
HWY_INLINE void fold(Step step, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 4 * kFloatLanes <= n; i += 4 * kFloatLanes) {
    fold_vectors<4>(step, x + i, pitch, rows, y + i);
  }
  for (; i + kFloatLanes <= n; i += kFloatLanes) fold_vectors<1>(step, x + i, pitch, rows, y + i);
  if (i == n) return;
  VF acc = load_some(x + i, n - i);
  for (int64_t r = 1; r < rows; ++r) acc = step(acc, load_some(x + i + r * pitch, n - i));
  store_some(acc, y + i, n - i);
}

template <class Step>
HWY_INLINE void fold_each(Step step, const float* x, int64_t x_step, int64_t count, int64_t pitch,
                          int64_t taps, int64_t n, float* y) {
  for (int64_t i = 0; i < count; ++i, x += x_step, y += n) fold(step, x, pitch, taps, n, y);
}

}  // namespace

void fold_windows_all(Binary op, const float* x, int64_t step, int64_t count, int64_t pitch,
                      int64_t taps, int64_t n, float* y) {
  if (op == Binary::kMaximum) return fold_each(MaxStep(), x, step, count, pitch, taps, n, y);
  if (op == Binary::kMinimum) return fold_each(MinStep(), x, step, count, pitch, taps, n, y);
  fold_each(SumStep(), x, step, count, pitch, taps, n, y);
}

void fold_rows_all(Binary op, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y) {
  if (op == Binary::kMaximum) return fold(MaxStep(), x, pitch, rows, n, y);
  if (op == Binary::kMinimum) return fold(MinStep(), x, pitch, rows, n, y);
  fold(SumStep(), x, pitch, rows, n, y);
}

float sum_all(const float* x, int64_t n) { return reduce(SumStep(), n, x); }

float dot_all(const float* a, const float* b, int64_t n) { return reduce(SumStep(), n, a, b); }

float max_all(const float* x, int64_t n) { return reduce(MaxStep(), n, x); }

float min_all(const float* x, int64_t n) { return reduce(MinStep(), n, x); }

void softmax_all(const float* x, float* y, int64_t n) {
  const DF d;
  const VF m = constant(max_all(x, n));
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(exp_vector(hn::Sub(hn::LoadU(d, x + i), m)), d, y + i);
  }
  if (i < n) store_some(exp_vector(hn::Sub(load_some(x + i, n - i), m)), y + i, n - i);
  const VF scale = constant(1.0f / sum_all(y, n));
  i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), scale), d, y + i);
  }
  if (i < n) store_some(hn::Mul(load_some(y + i, n - i), scale), y + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(sum_all);
HWY_EXPORT(dot_all);
HWY_EXPORT(max_all);
HWY_EXPORT(min_all);
HWY_EXPORT(softmax_all);
HWY_EXPORT(fold_rows_all);
HWY_EXPORT(fold_windows_all);

float sum(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(sum_all)(x, n); }

float sum_squares(const float* x, int64_t n) { return dot(x, x, n); }

float dot(const float* a, const float* b, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(dot_all)(a, b, n);
}

float max(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(max_all)(x, n); }

float min(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(min_all)(x, n); }

void softmax(const float* x, float* y, int64_t n) {
  if (n > 0) HWY_DYNAMIC_DISPATCH(softmax_all)(x, y, n);
}

void fold_rows(Binary op, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(fold_rows_all)(op, x, pitch, rows, n, y);
}

void fold_windows(Binary op, const float* x, int64_t step, int64_t count, int64_t pitch,
                  int64_t taps, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(fold_windows_all)(op, x, step, count, pitch, taps, n, y);
}

namespace reference {

float sum(const float* x, int64_t n) {
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return static_cast<float>(total);
}

float sum_squares(const float* x, int64_t n) { return reference::dot(x, x, n); }

float dot(const float* a, const float* b, int64_t n) {
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(a[i]) * b[i];
  return static_cast<float>(total);
}

float max(const float* x, int64_t n) {
  float m = -HUGE_VALF;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] > m || std::isnan(x[i])) m = x[i];
  }
  return m;
}

float min(const float* x, int64_t n) {
  float m = HUGE_VALF;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] < m || std::isnan(x[i])) m = x[i];
  }
  return m;
}

void fold_rows(Binary op, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    float m = op == Binary::kMaximum ? -HUGE_VALF : HUGE_VALF;
    double total = 0.0;
    for (int64_t r = 0; r < rows; ++r) {
      const float value = x[r * pitch + i];
      const bool better = op == Binary::kMaximum ? value > m : value < m;
      if (better || std::isnan(value)) m = value;
      total += value;
    }
    y[i] = op == Binary::kAdd ? static_cast<float>(total) : m;
  }
}

void fold_windows(Binary op, const float* x, int64_t step, int64_t count, int64_t pitch,
                  int64_t taps, int64_t n, float* y) {
  for (int64_t i = 0; i < count; ++i) {
    reference::fold_rows(op, x + i * step, pitch, taps, n, y + i * n);
  }
}

void softmax(const float* x, float* y, int64_t n) {
  const double m = reference::max(x, n);
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) total += std::exp(x[i] - m);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(std::exp(x[i] - m) / total);
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
