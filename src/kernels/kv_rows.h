// Rows of keys and values in a cache, in a weight format: float32, bfloat16, or int8 with one
// float32 scale behind each row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/weight_format.h"

namespace sl::kernels {

// Whether caches can have the format.
constexpr bool holds_kv_rows(WeightFormat format) { return format != WeightFormat::kInt4; }

// Bytes of a row of `width` values, a multiple of 16.
[[nodiscard]] int64_t kv_row_bytes(WeightFormat format, int64_t width);

// Stores x [count, width] in rows that follow one another, and restores it.
void store_kv_rows(WeightFormat format, const float* x, int64_t count, int64_t width,
                   std::byte* rows);
void restore_kv_rows(WeightFormat format, const std::byte* rows, int64_t count, int64_t width,
                     float* x);

}  // namespace sl::kernels
