// The state of a stream at its start.
#pragma once

#include "core/state.h"

namespace sl::ops {

// Sets items [first, first + count) of a tensor to its initial value.
void initialise(const StateTensor& tensor, int64_t first, int64_t count);

}  // namespace sl::ops
