#pragma once

#include <cstdint>

namespace sl::kernels {

// One output frame of a depthwise convolution, with M = multiplier:
// y[c * M + j] = (bias ? bias[c * M + j] : 0)
//     + sum_k x[k * tap_stride + c] * w[k * channels * M + c * M + j]
// tap_stride is in floats (dilation times frame size). y must not overlap the inputs.
void depthwise(const float* x, int64_t tap_stride, const float* w, const float* bias, int64_t taps,
               int64_t channels, int64_t multiplier, float* y);

namespace reference {

void depthwise(const float* x, int64_t tap_stride, const float* w, const float* bias, int64_t taps,
               int64_t channels, int64_t multiplier, float* y);

}  // namespace reference
}  // namespace sl::kernels
