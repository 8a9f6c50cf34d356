// Y = X^T: X [rows, columns], Y [columns, rows], each with a row stride; not in place.
#pragma once

#include <cstdint>

namespace sl::kernels {

// y[j * y_stride + i] = x[i * x_stride + j] for i < rows, j < columns. y must not overlap x.
void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride);

namespace reference {

void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride);

}  // namespace reference
}  // namespace sl::kernels
