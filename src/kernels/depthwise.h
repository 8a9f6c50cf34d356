// One output frame of a depthwise convolution: x [taps, channels], w [taps, channels * multiplier],
// y [channels * multiplier]; not in place.
#pragma once

#include <cstdint>

namespace sl::kernels {

// With M = multiplier and channel c, output j of that channel is
// y[c * M + j] = (bias ? bias[c * M + j] : 0)
//     + sum_k x[k * tap_stride + c] * w[k * channels * M + c * M + j]
// tap_stride is in floats: the dilation times the frame size. y must not overlap the inputs.
void depthwise(const float* x, int64_t tap_stride, const float* w, const float* bias, int64_t taps,
               int64_t channels, int64_t multiplier, float* y);

namespace reference {

void depthwise(const float* x, int64_t tap_stride, const float* w, const float* bias, int64_t taps,
               int64_t channels, int64_t multiplier, float* y);

}  // namespace reference
}  // namespace sl::kernels
