// Sines and cosines of angles [n] and rotations of pairs (a, b) by them, for position encodings.
#pragma once

#include <cstdint>

namespace sl::kernels {

// sine[i] = sin(angles[i]), cosine[i] = cos(angles[i]), within 2e-7 of the results in double, for
// angles of any size. Infinities and NaN give NaN. `sine` or `cosine` may be `angles`.
void sin_cos(const float* angles, float* sine, float* cosine, int64_t n);

// ya[i] = a[i] * cosine[i] - b[i] * sine[i], yb[i] = b[i] * cosine[i] + a[i] * sine[i]. ya may be
// a, and yb may be b.
void rotate(const float* a, const float* b, const float* sine, const float* cosine, float* ya,
            float* yb, int64_t n);

namespace reference {

void sin_cos(const float* angles, float* sine, float* cosine, int64_t n);
void rotate(const float* a, const float* b, const float* sine, const float* cosine, float* ya,
            float* yb, int64_t n);

}  // namespace reference
}  // namespace sl::kernels
