// Conversion of n values between float32 and bfloat16 or float16, and rounding to them in place.
#pragma once

#include <cstdint>

namespace sl::kernels {

// y[i] = x[i] in the other type. bfloat16 and float16 are held as their 16 bits. Narrowing rounds
// to nearest, ties to even; overflow gives infinity, subnormals are kept, NaN stays NaN.
void bf16_to_f32(const uint16_t* x, float* y, int64_t n);
void f32_to_bf16(const float* x, uint16_t* y, int64_t n);
void f16_to_f32(const uint16_t* x, float* y, int64_t n);
void f32_to_f16(const float* x, uint16_t* y, int64_t n);

// Rounds x[i] in place to the nearest float32 that the narrow type can represent.
void round_to_bf16(float* x, int64_t n);
void round_to_f16(float* x, int64_t n);

namespace reference {

[[nodiscard]] float bf16_to_f32(uint16_t x);
[[nodiscard]] uint16_t f32_to_bf16(float x);
[[nodiscard]] float f16_to_f32(uint16_t x);
[[nodiscard]] uint16_t f32_to_f16(float x);

}  // namespace reference
}  // namespace sl::kernels
