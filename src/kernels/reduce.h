// Sums, extremes and softmax of arrays [n], and folds of rows [rows, n] into one row [n].
#pragma once

#include <cstdint>

#include "kernels/pointwise.h"

namespace sl::kernels {

[[nodiscard]] float sum(const float* x, int64_t n);
[[nodiscard]] float sum_squares(const float* x, int64_t n);
[[nodiscard]] float dot(const float* a, const float* b, int64_t n);

// The maximum and minimum of x. A NaN in x gives NaN. An empty x gives -inf for max, +inf for min.
[[nodiscard]] float max(const float* x, int64_t n);
[[nodiscard]] float min(const float* x, int64_t n);

// y[i] = x[i] op x[i + pitch] op ... x[i + (rows - 1) * pitch] for i < n, with kAdd, kMaximum or
// kMinimum as op and at least one row. A NaN in a column gives NaN. y may be x.
void fold_rows(Binary op, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y);

// y[i * n + j] = x[i * step + j] op x[i * step + pitch + j] op ... over `taps` rows, for i < count
// and j < n: folds of windows of rows. As fold_rows, but y must not overlap x.
void fold_windows(Binary op, const float* x, int64_t step, int64_t count, int64_t pitch,
                  int64_t taps, int64_t n, float* y);

// y[i] = exp(x[i] - max(x)) / sum_j exp(x[j] - max(x)). y may be x. As in JAX, the result is NaN if
// x has a NaN or +inf, or only -inf.
void softmax(const float* x, float* y, int64_t n);

namespace reference {

[[nodiscard]] float sum(const float* x, int64_t n);
[[nodiscard]] float sum_squares(const float* x, int64_t n);
[[nodiscard]] float dot(const float* a, const float* b, int64_t n);
[[nodiscard]] float max(const float* x, int64_t n);
[[nodiscard]] float min(const float* x, int64_t n);
void fold_rows(Binary op, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y);
void fold_windows(Binary op, const float* x, int64_t step, int64_t count, int64_t pitch,
                  int64_t taps, int64_t n, float* y);
void softmax(const float* x, float* y, int64_t n);

}  // namespace reference
}  // namespace sl::kernels
