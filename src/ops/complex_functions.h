// Elementwise functions of complex numbers, as jax.nn and jax.numpy define them.
#pragma once

#include "core/dtype.h"
#include "kernels/pointwise.h"

namespace sl::ops {

// Whether f has a value for complex numbers. That of kAbs is real.
bool takes_complex(kernels::Unary op);

// f(x), of an f that takes complex numbers and is not kAbs.
complex64 complex_unary(kernels::Unary op, complex64 x, float a);

}  // namespace sl::ops
