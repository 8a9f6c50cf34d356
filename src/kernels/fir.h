// One FIR filter over n channels or steps at once: x at taps `tap_stride` apart, y [n]; not in
// place.
#pragma once

#include <cstdint>

namespace sl::kernels {

// y[i] = sum_k x[k * tap_stride + i] * w[k] for i < n and k < taps. y must not overlap the inputs.
void fir(const float* x, int64_t tap_stride, const float* w, int64_t taps, int64_t n, float* y);

namespace reference {

void fir(const float* x, int64_t tap_stride, const float* w, int64_t taps, int64_t n, float* y);

}  // namespace reference
}  // namespace sl::kernels
