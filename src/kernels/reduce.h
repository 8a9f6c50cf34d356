#pragma once

#include <cstdint>

#include "kernels/pointwise.h"

namespace sl::kernels {

[[nodiscard]] float sum(const float* x, int64_t n);
[[nodiscard]] float sum_squares(const float* x, int64_t n);
[[nodiscard]] float dot(const float* a, const float* b, int64_t n);

// NaN anywhere in x gives NaN. An empty x gives the identity, -inf for max and +inf for min.
[[nodiscard]] float max(const float* x, int64_t n);
[[nodiscard]] float min(const float* x, int64_t n);

// y[i] = x[i] op x[i + pitch] op ... x[i + (rows - 1) * pitch] for i < n, with op one of add,
// maximum and minimum, and at least one row. NaN in a column gives NaN.
void fold_rows(Binary op, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y);

// y = exp(x - max(x)) / sum. y may be x. As in jax, a NaN, a +inf or all -inf gives NaN.
void softmax(const float* x, float* y, int64_t n);

namespace reference {

[[nodiscard]] float sum(const float* x, int64_t n);
[[nodiscard]] float sum_squares(const float* x, int64_t n);
[[nodiscard]] float dot(const float* a, const float* b, int64_t n);
[[nodiscard]] float max(const float* x, int64_t n);
[[nodiscard]] float min(const float* x, int64_t n);
void fold_rows(Binary op, const float* x, int64_t pitch, int64_t rows, int64_t n, float* y);
void softmax(const float* x, float* y, int64_t n);

}  // namespace reference
}  // namespace sl::kernels
