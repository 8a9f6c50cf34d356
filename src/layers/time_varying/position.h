// Where a stream is.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/run.h"

namespace sl {

// The position, from the stream's state, which then moves on by `steps`. Once at the end it stays.
inline int64_t take_position(Run& run, int64_t steps, int64_t num_steps) {
  auto* position = run.state<int32_t>();
  const int64_t first = *position;
  *position = static_cast<int32_t>(std::min(first + steps, num_steps));
  return first;
}

}  // namespace sl
