// y = sum, mean, maximum or minimum of x over channel axes, and argmax over the last axis.
#pragma once

#include <cstdint>

#include "core/run.h"

namespace sl::ops {

enum class Reduction { kSum, kMean, kMax, kMin };

// The dtype of the result, as in JAX: sums of small integers are int32, means of integers float32.
DType reduced_dtype(Reduction op, DType dtype);

// x reduced over the channel axes whose bits are set in `axes`, with `channels` as the channel
// shape of the result. bfloat16 and float16 are accumulated in float32.
Sequence reduce(Run& run, Reduction op, const Sequence& x, uint32_t axes, const Shape& channels);

// Index, as int32, of the first maximum on the last axis. NaN counts as the maximum.
Sequence argmax(Run& run, const Sequence& x);

}  // namespace sl::ops
