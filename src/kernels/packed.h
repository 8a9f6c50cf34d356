// Y = X W + bias with W [k, n] packed in any weight format: the one place that chooses the kernels
// of a format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/weight_format.h"

namespace sl::kernels {

// Whether W [k, n] is packed in the format if that is asked for. Otherwise it is packed as float32:
// matrices of fewer rows than a group of int8 or int4 has would not become smaller.
[[nodiscard]] bool holds(WeightFormat format, int64_t k, int64_t n);

// Size of the packed form of W [k, n], in bytes, not rounded up to an alignment.
[[nodiscard]] int64_t packed_bytes(WeightFormat format, int64_t k, int64_t n);

// Packs W[p, j] = w[p * row_stride + j * col_stride] into packed_bytes(format, k, n) bytes, which
// begin at a multiple of 64. The bytes are the same on every instruction set.
void pack(WeightFormat format, const float* w, int64_t row_stride, int64_t col_stride, int64_t k,
          int64_t n, std::byte* packed);

// For int8 and int4: the scales that pack() chooses for the columns of a group of rows, w[p *
// row_stride + j] with p in [0, rows) and j in [0, n).
void group_scales(WeightFormat format, const float* w, int64_t row_stride, int64_t rows, int64_t n,
                  float* scales);
// Packs W[p, j] = scales[p / kRowGroup * n + j] * integers[p * n + j] with such scales.
void pack_rounded(WeightFormat format, const float* scales, const int8_t* integers, int64_t k,
                  int64_t n, std::byte* packed);

// y[i] = W[i, column] for i in [0, k).
void unpack_column(WeightFormat format, const std::byte* packed, int64_t k, int64_t column,
                   float* y);

// Like kernels::gemm_packed, with weights in the format. Columns from `begin` on, a multiple of
// column_group(), are W' = packed + packed_bytes(format, k, begin).
void gemm_packed(WeightFormat format, const float* x, int64_t x_stride, const std::byte* packed,
                 int64_t m, int64_t k, int64_t n, const float* bias, bool accumulate, float* y,
                 int64_t y_stride);

// Rows of x as the products of a format take them, so that several products share the work: whole
// groups of values, `kRowGroup` each. 0 bytes: the format takes rows of floats.
inline constexpr int64_t kRowGroup = 32;
[[nodiscard]] int64_t row_group_bytes(WeightFormat format);
void pack_row(WeightFormat format, const float* x, int64_t k, std::byte* row);
// The sum of gemm_packed's products with matrices `pitch` bytes apart, bit for bit, of such rows:
// those of a matrix begin `offsets` groups from `rows`, and are `stride` groups apart.
void gemm_packed_rows(WeightFormat format, const std::byte* rows, int64_t stride,
                      std::span<const int64_t> offsets, const std::byte* packed, int64_t pitch,
                      int64_t m, int64_t k, int64_t n, const float* bias, bool accumulate, float* y,
                      int64_t y_stride);

}  // namespace sl::kernels
