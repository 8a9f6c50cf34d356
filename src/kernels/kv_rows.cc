#include "kernels/kv_rows.h"

#include <cstring>

#include "kernels/convert.h"
#include "kernels/int8_rows.h"

namespace sl::kernels {

int64_t kv_row_bytes(WeightFormat format, int64_t width) {
  switch (format) {
    case WeightFormat::kBFloat16:
      return width * static_cast<int64_t>(sizeof(uint16_t));
    case WeightFormat::kInt8:
      return int8_row_bytes(width);
    default:
      return width * static_cast<int64_t>(sizeof(float));
  }
}

void store_kv_rows(WeightFormat format, const float* x, int64_t count, int64_t width,
                   std::byte* rows) {
  switch (format) {
    case WeightFormat::kBFloat16:
      return f32_to_bf16(x, reinterpret_cast<uint16_t*>(rows), count * width);
    case WeightFormat::kInt8:
      return f32_to_int8_rows(x, width, count, width, reinterpret_cast<int8_t*>(rows));
    default:
      std::memcpy(rows, x, static_cast<size_t>(count * width) * sizeof(float));
  }
}

void restore_kv_rows(WeightFormat format, const std::byte* rows, int64_t count, int64_t width,
                     float* x) {
  switch (format) {
    case WeightFormat::kBFloat16:
      return bf16_to_f32(reinterpret_cast<const uint16_t*>(rows), x, count * width);
    case WeightFormat::kInt8:
      return int8_rows_to_f32(reinterpret_cast<const int8_t*>(rows), count, width, x);
    default:
      std::memcpy(x, rows, static_cast<size_t>(count * width) * sizeof(float));
  }
}

}  // namespace sl::kernels
