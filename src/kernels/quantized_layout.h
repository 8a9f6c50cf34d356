// Sizes in the layout of int8 and int4 weights, which gemm_quantized.h describes.
#pragma once

#include <cstdint>

#include "kernels/gemm_quantized.h"

namespace sl::kernels {

// Bytes of the scales of two groups, which precede their integers.
inline constexpr int64_t kQuantizedScaleBytes = 64;

constexpr int bits_of(Quantized type) { return type == Quantized::kInt8 ? 8 : 4; }

// Bytes of the integers of a group in a panel.
constexpr int64_t quantized_integer_bytes(int bits) {
  return kPanelColumns * kQuantizedGroup * bits / 8;
}

constexpr int64_t quantized_panel_bytes(int bits, int64_t groups) {
  return (groups + 1) / 2 * kQuantizedScaleBytes + groups * quantized_integer_bytes(bits);
}

}  // namespace sl::kernels
