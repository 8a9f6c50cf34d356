// Unary and binary functions of float32 arrays [n], element by element; in place or not.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Functions of one float32, with the semantics of jax.nn.<name> or jnp.<name>.
enum class Unary {
#define SL_UNARY(Name, ...) k##Name,
#include "kernels/unary_functions.inc"
};

enum class Binary {
#define SL_BINARY(Name, ...) k##Name,
#include "kernels/binary_functions.inc"
};

// y[i] = op(x[i]). y may be x. The error against the result in double is at most 2e-6 of that
// result or the smallest normal float. NaN in gives NaN out. Only functions with a parameter read
// `a`.
void unary(Unary op, const float* x, float* y, int64_t n, float a);

// y[i] = op(a[i], b[i]). y may be a or b. Maximum and minimum propagate NaN.
void binary(Binary op, const float* a, const float* b, float* y, int64_t n);
void binary_scalar(Binary op, const float* a, float b, float* y, int64_t n);

// y[i] += a * x[i].
void axpy(float a, const float* x, float* y, int64_t n);

namespace reference {

// Scalar references: unary_value computes in double, and unary rounds its result once.
[[nodiscard]] double unary_value(Unary op, double x, double a);
void unary(Unary op, const float* x, float* y, int64_t n, float a);
void binary(Binary op, const float* a, const float* b, float* y, int64_t n);
void binary_scalar(Binary op, const float* a, float b, float* y, int64_t n);
void axpy(float a, const float* x, float* y, int64_t n);

}  // namespace reference
}  // namespace sl::kernels
