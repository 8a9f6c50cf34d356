// Where a stream is, in its state: a number of steps that stays once it is at the most.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "layers/layer.h"

namespace sl {

constexpr int64_t kMostPosition = std::numeric_limits<int32_t>::max();

inline void declare_position(Declaration& declaration, const Shape& shape,
                             int64_t most = kMostPosition) {
  declaration.index("position", shape, 0, most);
}

// The position, which then moves on by `steps`.
inline int64_t take_position(Run& run, int64_t steps, int64_t most = kMostPosition) {
  auto* position = run.state<int32_t>();
  const int64_t first = *position;
  *position = static_cast<int32_t>(std::min(first + steps, most));
  return first;
}

}  // namespace sl
