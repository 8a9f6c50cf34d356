// Reductions over channel axes.
#pragma once

#include <cstdint>

#include "core/run.h"

namespace sl::ops {

enum class Reduction { kSum, kMean, kMax, kMin };

// The dtype of the result, as JAX has it: sums of small integers are int32, means of integers
// float32.
DType reduced_dtype(Reduction op, DType dtype);

// y of channels `channels`: x reduced over the channel axes whose bits are set in `axes`. Halves
// are accumulated in float32.
Sequence reduce(Run& run, Reduction op, const Sequence& x, uint32_t axes, const Shape& channels);

// Index of the first largest element on the last axis, a NaN counting as largest: int32.
Sequence argmax(Run& run, const Sequence& x);

}  // namespace sl::ops
