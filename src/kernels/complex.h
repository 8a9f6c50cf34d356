// Element-wise products and magnitudes of complex arrays: n values, interleaved as [n, (re, im)].
#pragma once

#include <cstdint>

namespace sl::kernels {

// y[j] = x[j] * w[j]. y may be x.
void multiply_complex(const float* x, const float* w, float* y, int64_t n);
// y[j] = sum_i x_i[j] * w_i[j] over i < count, where x_i begins at x + i * x_step and w_i at
// w + i * w_step, in floats.
void sum_products_complex(const float* x, int64_t x_step, const float* w, int64_t w_step,
                          int64_t count, int64_t n, float* y);
// y[j] = |x[j]| for n complex x and n real y, without overflow or underflow of the squares.
void magnitude(const float* x, float* y, int64_t n);

namespace reference {

void sum_products_complex(const float* x, int64_t x_step, const float* w, int64_t w_step,
                          int64_t count, int64_t n, float* y);
void magnitude(const float* x, float* y, int64_t n);

}  // namespace reference
}  // namespace sl::kernels
