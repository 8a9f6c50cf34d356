#pragma once

#include <cstdint>

namespace sl::kernels {

// bfloat16 and float16 are held as their 16 bits. To 16 bits: round to nearest even, overflow
// gives infinity, subnormals are kept, NaN stays NaN.
void bf16_to_f32(const uint16_t* x, float* y, int64_t n);
void f32_to_bf16(const float* x, uint16_t* y, int64_t n);
void f16_to_f32(const uint16_t* x, float* y, int64_t n);
void f32_to_f16(const float* x, uint16_t* y, int64_t n);

// In place, to the nearest float32 that the narrow type can hold.
void round_to_bf16(float* x, int64_t n);
void round_to_f16(float* x, int64_t n);

namespace reference {

[[nodiscard]] float bf16_to_f32(uint16_t x);
[[nodiscard]] uint16_t f32_to_bf16(float x);
[[nodiscard]] float f16_to_f32(uint16_t x);
[[nodiscard]] uint16_t f32_to_f16(float x);

}  // namespace reference
}  // namespace sl::kernels
