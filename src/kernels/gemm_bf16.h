// Y = X W + bias with packed bfloat16 weights: X [m, k] float32, W [k, n], Y [m, n]; not in place.
//
// Weights are widened to float32 in registers. Products and sums are in float32, in order of depth,
// so that the result is that of float32 weights with these values.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Packed weights are panels of 16 columns, one after the other, the last one padded with zeros. A
// panel holds two rows of W in 64 bytes, as pairs (W[2 p, j], W[2 p + 1, j]); an odd k is padded
// with a row of zeros. Bytes of the packed form of W [k, n]; the panel of column j begins at
// packed_bf16_bytes(k, j) if j is a multiple of 16.
[[nodiscard]] int64_t packed_bf16_bytes(int64_t k, int64_t n);

// Packs the matrix W[p, j] = w[p * row_stride + j * col_stride], [k, n], rounded to the nearest
// bfloat16.
void pack_bf16(const float* w, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n,
               void* packed);

// y[i] = W[i, column] for i in [0, k).
void unpack_bf16_column(const void* packed, int64_t k, int64_t column, float* y);

// y[i, j] = (accumulate ? y[i, j] : bias ? bias[j] : 0) + sum_p x[i * x_stride + p] * W[p, j]
// Rows of x may overlap. y must not overlap x. A row's result is the same, bit for bit, in any
// batch of rows and any group of panels.
void gemm_bf16(const float* x, int64_t x_stride, const void* packed, int64_t m, int64_t k,
               int64_t n, const float* bias, bool accumulate, float* y, int64_t y_stride);

}  // namespace sl::kernels
