#pragma once

#include <cstdint>

namespace sl::kernels {

// One filter over many channels or steps: y[i] = sum_k x[k * tap_stride + i] * w[k], for n outputs.
// y must not overlap the inputs.
void fir(const float* x, int64_t tap_stride, const float* w, int64_t taps, int64_t n, float* y);

namespace reference {

void fir(const float* x, int64_t tap_stride, const float* w, int64_t taps, int64_t n, float* y);

}  // namespace reference
}  // namespace sl::kernels
