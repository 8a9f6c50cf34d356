// y = f(x) for complex numbers x, as jax.nn and jax.numpy define f.
#pragma once

#include "core/dtype.h"
#include "kernels/pointwise.h"

namespace sl::ops {

// Whether f is defined for complex numbers. The result of kAbs is real.
bool takes_complex(kernels::Unary op);

// f(x) for a function that takes complex numbers and is not kAbs; `a` is its parameter.
complex64 complex_unary(kernels::Unary op, complex64 x, float a);

}  // namespace sl::ops
