#include "kernels/normalize.h"

#include <cmath>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/normalize.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_math_inl.h"
#include "kernels/simd_reduce_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

// 1 / sqrt(x) rounded once, as in JAX. A second rounding would show where results are truncated to
// integers.
HWY_INLINE float inverse_root(float x) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)));
}

// y = fn(x, ...), vector by vector.
template <class Fn, class... In>
HWY_INLINE void map(int64_t n, float* y, Fn fn, In... in) {
  const DF d;
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(fn(hn::LoadU(d, in + i)...), d, y + i);
  }
  if (i < n) store_some(fn(load_some(in + i, n - i)...), y + i, n - i);
}

// Rows shorter than a vector are processed element by element, since loading a partial vector costs
// more than that.
HWY_INLINE bool is_short(int64_t n) { return n < kFloatLanes; }

HWY_INLINE float sum_of(const float* x, int64_t n) {
  if (!is_short(n)) return reduce(SumStep(), n, x);
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

HWY_INLINE float deviations_of(const float* x, float mean, int64_t n) {
  if (!is_short(n)) return reduce(DeviationStep{mean}, n, x);
  float sum = 0.0f;
  for (int64_t i = 0; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

HWY_INLINE void apply_short(const float* x, float mean, float factor, int64_t n, const float* scale,
                            const float* bias, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float normalized = (x[i] - mean) * factor;
    y[i] = normalized * (scale ? scale[i] : 1.0f) + (bias ? bias[i] : 0.0f);
  }
}

// y = (x - mean) * factor * scale + bias for one row.
HWY_INLINE void apply(const float* x, float mean, float factor, int64_t n, const float* scale,
                      const float* bias, float* y) {
  if (is_short(n)) return apply_short(x, mean, factor, n, scale, bias, y);
  const VF m = constant(mean);
  const VF f = constant(factor);
  if (scale && bias) {
    const auto fn = [=](VF v, VF s, VF b)
                        HWY_ATTR { return hn::MulAdd(hn::Mul(hn::Sub(v, m), f), s, b); };
    map(n, y, fn, x, scale, bias);
  } else if (scale) {
    const auto fn = [=](VF v, VF s) HWY_ATTR { return hn::Mul(hn::Mul(hn::Sub(v, m), f), s); };
    map(n, y, fn, x, scale);
  } else if (bias) {
    const auto fn = [=](VF v, VF b) HWY_ATTR { return hn::MulAdd(hn::Sub(v, m), f, b); };
    map(n, y, fn, x, bias);
  } else {
    map(
        n, y, [=](VF v) HWY_ATTR { return hn::Mul(hn::Sub(v, m), f); }, x);
  }
}

// Adds (x - mean)^2 to the total with kSquares, x without it.
template <bool kSquares>
HWY_INLINE VF add_term(VF total, VF x, VF mean) {
  if constexpr (!kSquares) return hn::Add(total, x);
  const VF difference = hn::Sub(x, mean);
  return hn::MulAdd(difference, difference, total);
}

template <bool kSquares, int kVectors>
HWY_INLINE void sum_vectors(const float* x, const float* means, int64_t rows, int64_t length,
                            float* sums) {
  const DF d;
  VF totals[kVectors], m[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) {
    totals[v] = hn::Zero(d);
    m[v] = kSquares ? hn::LoadU(d, means + v * kFloatLanes) : hn::Zero(d);
  }
  for (int64_t r = 0; r < rows; ++r, x += length) {
    for (int64_t v = 0; v < kVectors; ++v) {
      totals[v] = add_term<kSquares>(totals[v], hn::LoadU(d, x + v * kFloatLanes), m[v]);
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) hn::StoreU(totals[v], d, sums + v * kFloatLanes);
}

template <bool kSquares>
HWY_INLINE void sum_columns(const float* x, const float* means, int64_t rows, int64_t length,
                            float* sums) {
  const DF d;
  int64_t i = 0;
  const auto means_at = [&](int64_t at) { return kSquares ? means + at : nullptr; };
  for (; i + 4 * kFloatLanes <= length; i += 4 * kFloatLanes) {
    sum_vectors<kSquares, 4>(x + i, means_at(i), rows, length, sums + i);
  }
  for (; i + kFloatLanes <= length; i += kFloatLanes) {
    sum_vectors<kSquares, 1>(x + i, means_at(i), rows, length, sums + i);
  }
  if (i == length) return;
  const int64_t rest = length - i;
  const VF m = kSquares ? load_some(means + i, rest) : hn::Zero(d);
  VF total = hn::Zero(d);
  for (int64_t r = 0; r < rows; ++r) {
    // A whole vector may be loaded past the end of the row while it stays within x, since the lanes
    // past the end are not stored.
    const float* row = x + r * length + i;
    const bool inside = (rows - r) * length - i >= kFloatLanes;
    total = add_term<kSquares>(total, inside ? hn::LoadU(d, row) : load_some(row, rest), m);
  }
  store_some(total, sums + i, rest);
}

}  // namespace

void layer_norm_all(const float* x, int64_t rows, int64_t length, float epsilon, const float* scale,
                    const float* bias, float* y) {
  const auto n = static_cast<float>(length);
  for (int64_t r = 0; r < rows; ++r, x += length, y += length) {
    const float mean = sum_of(x, length) / n;
    const float variance = deviations_of(x, mean, length) / n;
    apply(x, mean, inverse_root(variance + epsilon), length, scale, bias, y);
  }
}

void rms_norm_all(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
                  const float* scale, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += length, y += length) {
    const float square = deviations_of(x, 0.0f, length) / divisor;
    apply(x, 0.0f, inverse_root(square + epsilon), length, scale, nullptr, y);
  }
}

void row_sums_all(const float* x, int64_t rows, int64_t length, float* sums) {
  for (int64_t r = 0; r < rows; ++r) sums[r] = sum_of(x + r * length, length);
}

void row_deviations_all(const float* x, const float* means, int64_t rows, int64_t length,
                        float* sums) {
  for (int64_t r = 0; r < rows; ++r) sums[r] = deviations_of(x + r * length, means[r], length);
}

void normalize_rows_all(const float* x, const float* means, const float* factors, int64_t rows,
                        int64_t length, const float* scale, const float* bias, float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * length;
    apply(x + at, means[r], factors[r], length, scale ? scale + at : nullptr,
          bias ? bias + at : nullptr, y + at);
  }
}

void column_sums_all(const float* x, int64_t rows, int64_t length, float* sums) {
  sum_columns<false>(x, nullptr, rows, length, sums);
}

void column_deviations_all(const float* x, const float* means, int64_t rows, int64_t length,
                           float* sums) {
  sum_columns<true>(x, means, rows, length, sums);
}

void shift_and_scale_all(const float* x, const float* shift, const float* scale, const float* bias,
                         int64_t n, float* y) {
  const auto fn = [](VF v, VF m, VF s, VF b) HWY_ATTR { return hn::MulAdd(hn::Sub(v, m), s, b); };
  map(n, y, fn, x, shift, scale, bias);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(layer_norm_all);
HWY_EXPORT(rms_norm_all);
HWY_EXPORT(row_sums_all);
HWY_EXPORT(row_deviations_all);
HWY_EXPORT(normalize_rows_all);
HWY_EXPORT(column_sums_all);
HWY_EXPORT(column_deviations_all);
HWY_EXPORT(shift_and_scale_all);

void layer_norm(const float* x, int64_t rows, int64_t length, float epsilon, const float* scale,
                const float* bias, float* y) {
  HWY_DYNAMIC_DISPATCH(layer_norm_all)(x, rows, length, epsilon, scale, bias, y);
}

void rms_norm(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
              const float* scale, float* y) {
  HWY_DYNAMIC_DISPATCH(rms_norm_all)(x, rows, length, divisor, epsilon, scale, y);
}

void row_sums(const float* x, int64_t rows, int64_t length, float* sums) {
  HWY_DYNAMIC_DISPATCH(row_sums_all)(x, rows, length, sums);
}

void row_deviations(const float* x, const float* means, int64_t rows, int64_t length, float* sums) {
  HWY_DYNAMIC_DISPATCH(row_deviations_all)(x, means, rows, length, sums);
}

void normalize_rows(const float* x, const float* means, const float* factors, int64_t rows,
                    int64_t length, const float* scale, const float* bias, float* y) {
  HWY_DYNAMIC_DISPATCH(normalize_rows_all)(x, means, factors, rows, length, scale, bias, y);
}

void column_sums(const float* x, int64_t rows, int64_t length, float* sums) {
  HWY_DYNAMIC_DISPATCH(column_sums_all)(x, rows, length, sums);
}

void column_deviations(const float* x, const float* means, int64_t rows, int64_t length,
                       float* sums) {
  HWY_DYNAMIC_DISPATCH(column_deviations_all)(x, means, rows, length, sums);
}

void shift_and_scale(const float* x, const float* shift, const float* scale, const float* bias,
                     int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(shift_and_scale_all)(x, shift, scale, bias, n, y);
}

namespace reference {
namespace {

double deviation(double x, double mean) { return (x - mean) * (x - mean); }

// y = (x - mean) * factor * scale + bias for one row, in double.
void apply(const float* x, double mean, double factor, int64_t n, const float* scale,
           const float* bias, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double s = scale ? scale[i] : 1.0, b = bias ? bias[i] : 0.0;
    y[i] = static_cast<float>((x[i] - mean) * factor * s + b);
  }
}

}  // namespace

void layer_norm(const float* x, int64_t rows, int64_t length, float epsilon, const float* scale,
                const float* bias, float* y) {
  const auto n = static_cast<double>(length);
  for (int64_t r = 0; r < rows; ++r, x += length, y += length) {
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < length; ++i) sum += x[i];
    for (int64_t i = 0; i < length; ++i) squares += deviation(x[i], sum / n);
    apply(x, sum / n, 1.0 / std::sqrt(squares / n + epsilon), length, scale, bias, y);
  }
}

void rms_norm(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
              const float* scale, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += length, y += length) {
    double squares = 0.0;
    for (int64_t i = 0; i < length; ++i) squares += deviation(x[i], 0.0);
    apply(x, 0.0, 1.0 / std::sqrt(squares / divisor + epsilon), length, scale, nullptr, y);
  }
}

void row_sums(const float* x, int64_t rows, int64_t length, float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0.0;
    for (int64_t i = 0; i < length; ++i) sum += x[r * length + i];
    sums[r] = static_cast<float>(sum);
  }
}

void row_deviations(const float* x, const float* means, int64_t rows, int64_t length, float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0.0;
    for (int64_t i = 0; i < length; ++i) sum += deviation(x[r * length + i], means[r]);
    sums[r] = static_cast<float>(sum);
  }
}

void normalize_rows(const float* x, const float* means, const float* factors, int64_t rows,
                    int64_t length, const float* scale, const float* bias, float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * length;
    apply(x + at, means[r], factors[r], length, scale ? scale + at : nullptr,
          bias ? bias + at : nullptr, y + at);
  }
}

void column_sums(const float* x, int64_t rows, int64_t length, float* sums) {
  for (int64_t i = 0; i < length; ++i) {
    double sum = 0.0;
    for (int64_t r = 0; r < rows; ++r) sum += x[r * length + i];
    sums[i] = static_cast<float>(sum);
  }
}

void column_deviations(const float* x, const float* means, int64_t rows, int64_t length,
                       float* sums) {
  for (int64_t i = 0; i < length; ++i) {
    double sum = 0.0;
    for (int64_t r = 0; r < rows; ++r) sum += deviation(x[r * length + i], means[i]);
    sums[i] = static_cast<float>(sum);
  }
}

void shift_and_scale(const float* x, const float* shift, const float* scale, const float* bias,
                     int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(x[i]) - shift[i];
    y[i] = static_cast<float>(difference * scale[i] + bias[i]);
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
