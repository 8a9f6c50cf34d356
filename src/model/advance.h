// A whole sequence in a stream, at the cost of a layer-wise run.
#pragma once

#include <span>

#include "model/stream.h"

namespace sl {

// Does what steps of `stream` over x would do, in few large blocks; allocates. Shapes were checked
// against the plan: a streamed constant has its share for all of x. `emits` are none or all that
// the plan has; those without data are not wanted. If it fails, the stream is as before.
void advance(Stream& stream, const View& x, const View& y, std::span<const View> constants,
             std::span<const View> emits = {});

}  // namespace sl
