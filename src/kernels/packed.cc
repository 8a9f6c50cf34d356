#include "kernels/packed.h"

#include "kernels/gemm.h"
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_quantized.h"

namespace sl::kernels {
namespace {

constexpr Quantized quantized(WeightFormat format) {
  return format == WeightFormat::kInt8 ? Quantized::kInt8 : Quantized::kInt4;
}

}  // namespace

bool holds(WeightFormat format, int64_t k, int64_t) {
  return format < WeightFormat::kInt8 || k >= kQuantizedGroup;
}

int64_t packed_bytes(WeightFormat format, int64_t k, int64_t n) {
  switch (format) {
    case WeightFormat::kFloat32:
      return packed_size(k, n) * static_cast<int64_t>(sizeof(float));
    case WeightFormat::kBFloat16:
      return packed_bf16_bytes(k, n);
    default:
      return packed_quantized_bytes(quantized(format), k, n);
  }
}

void pack(WeightFormat format, const float* w, int64_t row_stride, int64_t col_stride, int64_t k,
          int64_t n, std::byte* packed) {
  switch (format) {
    case WeightFormat::kFloat32:
      return pack(w, row_stride, col_stride, k, n, reinterpret_cast<float*>(packed));
    case WeightFormat::kBFloat16:
      return pack_bf16(w, row_stride, col_stride, k, n, packed);
    default:
      return pack_quantized(quantized(format), w, row_stride, col_stride, k, n, packed);
  }
}

void group_scales(WeightFormat format, const float* w, int64_t row_stride, int64_t rows, int64_t n,
                  float* scales) {
  quantized_scales(quantized(format), w, row_stride, rows, n, scales);
}

void pack_rounded(WeightFormat format, const float* scales, const int8_t* integers, int64_t k,
                  int64_t n, std::byte* packed) {
  pack_rounded(quantized(format), scales, integers, k, n, packed);
}

void unpack_column(WeightFormat format, const std::byte* packed, int64_t k, int64_t column,
                   float* y) {
  switch (format) {
    case WeightFormat::kFloat32: {
      const int64_t width = panel_width();
      const float* from =
          reinterpret_cast<const float*>(packed) + column / width * width * k + column % width;
      for (int64_t p = 0; p < k; ++p) y[p] = from[p * width];
      return;
    }
    case WeightFormat::kBFloat16:
      return unpack_bf16_column(packed, k, column, y);
    default:
      return unpack_quantized_column(quantized(format), packed, k, column, y);
  }
}

void gemm_packed(WeightFormat format, const float* x, int64_t x_stride, const std::byte* packed,
                 int64_t m, int64_t k, int64_t n, const float* bias, bool accumulate, float* y,
                 int64_t y_stride) {
  switch (format) {
    case WeightFormat::kFloat32:
      return gemm_packed(x, x_stride, reinterpret_cast<const float*>(packed), m, k, n, bias,
                         accumulate, y, y_stride);
    case WeightFormat::kBFloat16:
      return gemm_bf16(x, x_stride, packed, m, k, n, bias, accumulate, y, y_stride);
    default:
      return gemm_quantized(quantized(format), x, x_stride, packed, m, k, n, bias, accumulate, y,
                            y_stride);
  }
}

static_assert(kRowGroup == kQuantizedGroup);

int64_t row_group_bytes(WeightFormat format) {
  return format < WeightFormat::kInt8 ? 0 : quantized_group_bytes();
}

void pack_row(WeightFormat, const float* x, int64_t k, std::byte* row) { quantize_row(x, k, row); }

void gemm_packed_rows(WeightFormat format, const std::byte* rows, int64_t stride,
                      std::span<const int64_t> offsets, const std::byte* packed, int64_t pitch,
                      int64_t m, int64_t k, int64_t n, const float* bias, bool accumulate, float* y,
                      int64_t y_stride) {
  gemm_quantized_rows(quantized(format), rows, stride, offsets, packed, pitch, m, k, n, bias,
                      accumulate, y, y_stride);
}

}  // namespace sl::kernels
