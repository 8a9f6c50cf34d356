// Sines and cosines of many angles, and rotations by them: what position encodings are made of.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Within 2e-7 of the double results, for angles of any size. Infinities and NaN give NaN. The
// angles may be the sines' or the cosines' place.
void sin_cos(const float* angles, float* sine, float* cosine, int64_t n);

// ya = a cos - b sin, yb = b cos + a sin. ya may be a, and yb b.
void rotate(const float* a, const float* b, const float* sine, const float* cosine, float* ya,
            float* yb, int64_t n);

namespace reference {

void sin_cos(const float* angles, float* sine, float* cosine, int64_t n);
void rotate(const float* a, const float* b, const float* sine, const float* cosine, float* ya,
            float* yb, int64_t n);

}  // namespace reference
}  // namespace sl::kernels
