// Y = X W + bias with packed int8 or int4 weights: X [m, k] float32, W [k, n], Y [m, n]; not in
// place.
//
// Weights have a scale for each column and group of 32 rows, W[p, j] = scale * integer. Rows of x
// are quantized on the way, on the stack, to int8 with a scale for each row and group. The products
// of a group are summed exactly, in int32; its sum is multiplied by both scales and added in
// float32, group by group. A result is the same, bit for bit, in any batch of rows and any group of
// panels, and on every instruction set with fused multiply-add.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/panel.h"

namespace sl::kernels {

enum class Quantized { kInt8, kInt4 };

// Rows of W, and values of a row of x, that share a scale.
inline constexpr int64_t kQuantizedGroup = 32;

constexpr int64_t quantized_groups(int64_t k) {
  return (k + kQuantizedGroup - 1) / kQuantizedGroup;
}

// Packed weights are panels of 16 columns, one after the other. A panel holds, for each two groups,
// 64 bytes of bfloat16 scales, 16 of the first group and 16 of the second one, followed by the
// integers of the two groups; an odd last group is followed by nothing. Integers are stored plus
// 128 (int8, -127 to 127) or plus 8 (int4, -8 to 7). Those of int8 are 8 times 64 bytes, each with
// 4 rows of the 16 columns: byte 4 j + i has row i of column j. Those of int4 are 4 times 64 bytes,
// each with 8 rows: byte 4 j + i has row i of column j in its lower half and row 4 + i in its upper
// half. Padding is zeros, with scales of zero.
//
// Bytes of the packed form of W [k, n], a multiple of 64. The panel of column j begins at
// packed_quantized_bytes(type, k, j) if j is a multiple of 16.
[[nodiscard]] int64_t packed_quantized_bytes(Quantized type, int64_t k, int64_t n);

// Quantizes and packs the matrix W[p, j] = w[p * row_stride + j * col_stride], [k, n]. A group with
// a value that is not finite gets a scale of NaN.
void pack_quantized(Quantized type, const float* w, int64_t row_stride, int64_t col_stride,
                    int64_t k, int64_t n, void* packed);

// The scales that pack_quantized() chooses for the columns of one group, w[p * row_stride + j] with
// p in [0, rows) and j in [0, n).
void quantized_scales(Quantized type, const float* w, int64_t row_stride, int64_t rows, int64_t n,
                      float* scales);
// Packs W[p, j] = scales[p / 32 * n + j] * integers[p * n + j], [k, n], with such scales.
void pack_rounded(Quantized type, const float* scales, const int8_t* integers, int64_t k, int64_t n,
                  void* packed);

// y[i] = W[i, column] for i in [0, k).
void unpack_quantized_column(Quantized type, const void* packed, int64_t k, int64_t column,
                             float* y);

// y[i, j] = (accumulate ? y[i, j] : bias ? bias[j] : 0) + sum_p x[i * x_stride + p] * W[p, j]
// Rows of x may overlap; y must not overlap x. Values of x are rounded to the nearest multiple of a
// 127th of the largest magnitude of their group. A group with a value that is not finite makes all
// results of its row NaN. A group whose values are all below 1e-36 counts as zeros.
void gemm_quantized(Quantized type, const float* x, int64_t x_stride, const void* packed, int64_t m,
                    int64_t k, int64_t n, const float* bias, bool accumulate, float* y,
                    int64_t y_stride);

// Rows that are quantized once for several products: a row of k values is its groups, one after the
// other, of so many bytes each.
[[nodiscard]] int64_t quantized_group_bytes();
void quantize_row(const float* x, int64_t k, void* row);
// The sum of gemm_quantized's products with matrices `pitch` bytes apart, one after the other, bit
// for bit. Rows of the first one begin `offsets[0]` groups from `rows`, and so on, and follow each
// other `stride` groups apart. They may overlap.
void gemm_quantized_rows(Quantized type, const void* rows, int64_t stride,
                         std::span<const int64_t> offsets, const void* packed, int64_t pitch,
                         int64_t m, int64_t k, int64_t n, const float* bias, bool accumulate,
                         float* y, int64_t y_stride);

}  // namespace sl::kernels
