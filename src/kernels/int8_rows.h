// Rows of int8 values with one scale each, as caches of keys and values hold them.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Bytes of a row of `width` values: the integers, then a float32 scale.
constexpr int64_t int8_row_bytes(int64_t width) {
  return width + static_cast<int64_t>(sizeof(float));
}

// Rounds each value of `count` rows of x, `x_stride` apart, to the nearest multiple of a 127th of
// the largest magnitude of its row. Rows are written one after the other. `width` is a multiple of
// 16. A row with a value that is not finite becomes NaN; one with values all below 1e-36 becomes
// zeros.
void f32_to_int8_rows(const float* x, int64_t x_stride, int64_t count, int64_t width, int8_t* rows);

// Restores `count` rows, one after the other, to y [count, width].
void int8_rows_to_f32(const int8_t* rows, int64_t count, int64_t width, float* y);

}  // namespace sl::kernels
