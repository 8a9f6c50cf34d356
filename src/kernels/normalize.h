#pragma once

#include <cstdint>

namespace sl::kernels {

// `rows` rows of `length` floats lie one after the other. y may be x, elsewhere it must not overlap
// the inputs. scale and bias may be null. A row's result does not depend on the other rows.

// y = (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias within each row.
void layer_norm(const float* x, int64_t rows, int64_t length, float epsilon, const float* scale,
                const float* bias, float* y);
// y = x / sqrt(sum(x^2) / divisor + epsilon) * scale within each row.
void rms_norm(const float* x, int64_t rows, int64_t length, float divisor, float epsilon,
              const float* scale, float* y);

// sums[r] = the sum of row r.
void row_sums(const float* x, int64_t rows, int64_t length, float* sums);
// sums[r] = the sum of (x - means[r])^2 over row r.
void row_deviations(const float* x, const float* means, int64_t rows, int64_t length, float* sums);
// y = (x - means[r]) * factors[r] * scale + bias, with scale and bias of rows * length elements.
void normalize_rows(const float* x, const float* means, const float* factors, int64_t rows,
                    int64_t length, const float* scale, const float* bias, float* y);

// The same by columns: sums[i] = the sum of x[r * length + i], or of its (... - means[i])^2, over
// r.
void column_sums(const float* x, int64_t rows, int64_t length, float* sums);
void column_deviations(const float* x, const float* means, int64_t rows, int64_t length,
                       float* sums);
// y[i] = (x[i] - shift[i]) * scale[i] + bias[i].
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
