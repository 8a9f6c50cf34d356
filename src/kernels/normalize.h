// Normalisation of x [rows, length] by row or by column, and the sums that it needs; in place or
// not.
#pragma once

#include <cstdint>

namespace sl::kernels {

// x and y are contiguous, [rows, length]. y may be x, but must not overlap the inputs in any other
// way. scale and bias may be null. A row's result does not depend on the other rows.

// y[r] = (x[r] - mean) / sqrt(mean((x[r] - mean)^2) + epsilon) * scale + bias, with the mean of row
// r, and scale and bias [length].
void layer_norm(const float* x, int64_t rows, int64_t length, float epsilon, const float* scale,
                const float* bias, float* y);
// y[r] = x[r] / sqrt(sum(x[r]^2) / divisor + epsilon) * scale, with scale [length].
void rms_norm(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
              const float* scale, float* y);

// sums[r] = sum_i x[r, i].
void row_sums(const float* x, int64_t rows, int64_t length, float* sums);
// sums[r] = sum_i (x[r, i] - means[r])^2.
void row_deviations(const float* x, const float* means, int64_t rows, int64_t length, float* sums);
// y[r, i] = (x[r, i] - means[r]) * factors[r] * scale[r, i] + bias[r, i].
void normalize_rows(const float* x, const float* means, const float* factors, int64_t rows,
                    int64_t length, const float* scale, const float* bias, float* y);

// sums[i] = sum_r x[r, i].
void column_sums(const float* x, int64_t rows, int64_t length, float* sums);
// sums[i] = sum_r (x[r, i] - means[i])^2.
void column_deviations(const float* x, const float* means, int64_t rows, int64_t length,
                       float* sums);
// y[i] = (x[i] - shift[i]) * scale[i] + bias[i] for i < n.
void shift_and_scale(const float* x, const float* shift, const float* scale, const float* bias,
                     int64_t n, float* y);

namespace reference {

void layer_norm(const float* x, int64_t rows, int64_t length, float epsilon, const float* scale,
                const float* bias, float* y);
void rms_norm(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
              const float* scale, float* y);
void row_sums(const float* x, int64_t rows, int64_t length, float* sums);
void row_deviations(const float* x, const float* means, int64_t rows, int64_t length, float* sums);
void normalize_rows(const float* x, const float* means, const float* factors, int64_t rows,
                    int64_t length, const float* scale, const float* bias, float* y);
void column_sums(const float* x, int64_t rows, int64_t length, float* sums);
void column_deviations(const float* x, const float* means, int64_t rows, int64_t length,
                       float* sums);
void shift_and_scale(const float* x, const float* shift, const float* scale, const float* bias,
                     int64_t n, float* y);

}  // namespace reference
}  // namespace sl::kernels
