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

// y = (x - mean) * factor * scale + bias of one row.
HWY_INLINE void apply(const float* x, float mean, float factor, int64_t n, const float* scale,
                      const float* bias, float* y) {
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

// sums[i] = the sum of term(column, x[r * length + i]) over r, four vectors of columns at a time.
template <int kVectors, class Term>
HWY_INLINE void sum_columns(const float* x, int64_t rows, int64_t length, int64_t column, Term term,
                            float* sums) {
  const DF d;
  VF totals[kVectors];
  for (VF& total : totals) total = hn::Zero(d);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * length + column;
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t at = v * kFloatLanes;
      totals[v] = term(totals[v], hn::LoadU(d, row + at), column + at, kFloatLanes);
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) hn::StoreU(totals[v], d, sums + column + v * kFloatLanes);
}

template <class Term>
HWY_INLINE void sum_all_columns(const float* x, int64_t rows, int64_t length, Term term,
                                float* sums) {
  int64_t i = 0;
  for (; i + 4 * kFloatLanes <= length; i += 4 * kFloatLanes) {
    sum_columns<4>(x, rows, length, i, term, sums);
  }
  for (; i + kFloatLanes <= length; i += kFloatLanes) {
    sum_columns<1>(x, rows, length, i, term, sums);
  }
  if (i == length) return;
  const int64_t rest = length - i;
  VF total = hn::Zero(DF());
  for (int64_t r = 0; r < rows; ++r) {
    total = term(total, load_some(x + r * length + i, rest), i, rest);
  }
  store_some(total, sums + i, rest);
}

}  // namespace

void layer_norm_all(const float* x, int64_t rows, int64_t length, float epsilon, const float* scale,
                    const float* bias, float* y) {
  const auto n = static_cast<float>(length);
  for (int64_t r = 0; r < rows; ++r, x += length, y += length) {
    const float mean = reduce(SumStep(), length, x) / n;
    const float variance = reduce(DeviationStep{mean}, length, x) / n;
    apply(x, mean, 1.0f / std::sqrt(variance + epsilon), length, scale, bias, y);
  }
}

void rms_norm_all(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
                  const float* scale, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += length, y += length) {
    const float square = reduce(SumStep(), length, x, x) / divisor;
    apply(x, 0.0f, 1.0f / std::sqrt(square + epsilon), length, scale, nullptr, y);
  }
}

void row_sums_all(const float* x, int64_t rows, int64_t length, float* sums) {
  for (int64_t r = 0; r < rows; ++r) sums[r] = reduce(SumStep(), length, x + r * length);
}

void row_deviations_all(const float* x, const float* means, int64_t rows, int64_t length,
                        float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    sums[r] = reduce(DeviationStep{means[r]}, length, x + r * length);
  }
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
  const auto term = [](VF total, VF v, int64_t, int64_t) HWY_ATTR { return hn::Add(total, v); };
  sum_all_columns(x, rows, length, term, sums);
}

void column_deviations_all(const float* x, const float* means, int64_t rows, int64_t length,
                           float* sums) {
  const auto term = [means](VF total, VF v, int64_t column, int64_t count) HWY_ATTR {
    const float* m = means + column;
    const VF difference =
        hn::Sub(v, count == kFloatLanes ? hn::LoadU(DF(), m) : load_some(m, count));
    return hn::MulAdd(difference, difference, total);
  };
  sum_all_columns(x, rows, length, term, sums);
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

double inverse_root(double x) { return 1.0 / std::sqrt(x); }

double deviation(double x, double mean) { return (x - mean) * (x - mean); }

// One row's, with the mean and the factor in double.
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
    apply(x, sum / n, inverse_root(squares / n + epsilon), length, scale, bias, y);
  }
}

void rms_norm(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
              const float* scale, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += length, y += length) {
    double squares = 0.0;
    for (int64_t i = 0; i < length; ++i) squares += deviation(x[i], 0.0);
    apply(x, 0.0, inverse_root(squares / divisor + epsilon), length, scale, nullptr, y);
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
