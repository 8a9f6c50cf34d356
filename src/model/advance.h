// Runs a whole sequence through a stream at about the cost of a layer-wise run, as prefill does.
#pragma once

#include <span>

#include "model/stream.h"

namespace sl {

// Has the same effect as stepping the slots of `stream` over x, but runs few large blocks.
// Allocates. The caller has checked shapes against the plan; a streamed constant has the steps for
// all of x. `emits` is empty or has all emits of the plan, without data where they are not wanted.
// If it fails, the stream does not change. `source` is as in StreamPlan::step.
void advance(Stream& stream, const Slots& slots, const Parallel& parallel, const View& x,
             const View& y, std::span<const View> constants, std::span<const View> emits = {},
             TokenSource* source = nullptr);

}  // namespace sl
