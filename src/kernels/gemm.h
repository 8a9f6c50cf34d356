// Y = X W + bias with packed float32 weights: X [m, k], W [k, n], bias [n], Y [m, n]; not in place.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Columns in a panel. Packed weights W [k, n] are stored as panels [k, panel_width()], one after
// the other, the last one padded with zeros. A base aligned to 64 bytes makes them faster to read,
// but is not required. The width is the same on every instruction set, so that packed weights can
// be stored and shared.
[[nodiscard]] int64_t panel_width();

// Size of the packed form of W [k, n], in floats.
[[nodiscard]] int64_t packed_size(int64_t k, int64_t n);

// Columns [begin, end) of W can be computed on their own, from packed + begin * k and bit for bit
// as with all columns, if `begin` is a multiple of this and `end` is one or is n.
[[nodiscard]] int64_t column_group();

// Number of such groups in n columns, the last of which may have fewer, and the first column of
// part `part` when all of them are divided into `parts` parts; n if `part` is `parts`.
[[nodiscard]] int64_t column_groups(int64_t n);
[[nodiscard]] int64_t part_column(int64_t n, int64_t part, int64_t parts);

// Packs the matrix W[p, j] = w[p * row_stride + j * col_stride], [k, n], into packed_size(k, n)
// floats.
void pack(const float* w, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n,
          float* packed);

// y[i, j] = (accumulate ? y[i, j] : bias ? bias[j] : 0) + sum_p x[i * x_stride + p] * W[p, j]
// Rows of x may overlap (x_stride < k is legal: convolution windows). y must not overlap x.
// A row's result does not depend on m: it is the same, bit for bit, in any batch of rows.
void gemm_packed(const float* x, int64_t x_stride, const float* packed, int64_t m, int64_t k,
                 int64_t n, const float* bias, bool accumulate, float* y, int64_t y_stride);

namespace reference {

// Like gemm_packed, but with row-major weights w [k, n] that are not packed; adds in double.
void gemm(const float* x, int64_t x_stride, const float* w, int64_t m, int64_t k, int64_t n,
          const float* bias, bool accumulate, float* y, int64_t y_stride);

}  // namespace reference
}  // namespace sl::kernels
