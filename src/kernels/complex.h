#pragma once

#include <cstdint>

namespace sl::kernels {

// Arrays of n complex values each, interleaved.

// y = x * w. y may be x.
void multiply_complex(const float* x, const float* w, float* y, int64_t n);
// y = the sum over i < count of x[i] * w[i], of which the next begin `x_step` and `w_step` floats
// further on.
void sum_products_complex(const float* x, int64_t x_step, const float* w, int64_t w_step,
                          int64_t count, int64_t n, float* y);
// Their magnitudes, without overflow on the way.
void magnitude(const float* x, float* y, int64_t n);

namespace reference {

void sum_products_complex(const float* x, int64_t x_step, const float* w, int64_t w_step,
                          int64_t count, int64_t n, float* y);
void magnitude(const float* x, float* y, int64_t n);

}  // namespace reference
}  // namespace sl::kernels
