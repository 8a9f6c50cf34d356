#pragma once

#include <cstdint>

namespace sl::kernels {

// Packed weight matrix: W [k, n] stored in panels of panel_width() columns, each panel k rows
// contiguous, zero padded columns. A 64-byte aligned base is expected for speed, not required.
// The width is the same on every instruction set, so packed weights can be shared or stored.
[[nodiscard]] int64_t panel_width();

// Size of the packed form of W [k, n], in floats.
[[nodiscard]] int64_t packed_size(int64_t k, int64_t n);

// Columns [begin, end) of W, both multiples of this or end = n, can be computed on their own, from
// packed + begin * k, with the same result to the bit.
[[nodiscard]] int64_t column_group();

// Packs W[p, j] = w[p * row_stride + j * col_stride].
void pack(const float* w, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n,
          float* packed);

// y[i, j] = (accumulate ? y[i, j] : bias ? bias[j] : 0) + sum_p x[i * x_stride + p] * W[p, j]
// Rows of x may overlap (x_stride < k is legal: convolution windows). y must not overlap x.
// A row's result does not depend on m: it is the same, bit for bit, in any batch of rows.
void gemm_packed(const float* x, int64_t x_stride, const float* packed, int64_t m, int64_t k,
                 int64_t n, const float* bias, bool accumulate, float* y, int64_t y_stride);

namespace reference {

// As above with w [k, n] row-major, unpacked; sums in double.
void gemm(const float* x, int64_t x_stride, const float* w, int64_t m, int64_t k, int64_t n,
          const float* bias, bool accumulate, float* y, int64_t y_stride);

}  // namespace reference
}  // namespace sl::kernels
