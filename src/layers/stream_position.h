// Keeps the position of each batch item in the state of a stream: the number of steps so far, up to
// a maximum at which it stays.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "layers/layer.h"

namespace sl {

constexpr int64_t kMaxPosition = std::numeric_limits<int32_t>::max();

// The position of the first step of a call, for each batch item.
class StreamPositions {
 public:
  // All items at the start of the stream.
  StreamPositions() = default;
  explicit StreamPositions(const int32_t* first) : first_(first) {}

  int64_t of(int64_t b) const { return first_ ? first_[b] : 0; }
  // Calls fn(first item, count) for each range of items at the same position. There is one range
  // unless items have been reset or copied alone.
  template <typename Fn>
  void each_range(int64_t batch, Fn&& fn) const {
    each_equal_range(
        batch, [&](int64_t b) { return of(b); }, fn);
  }

 private:
  const int32_t* first_ = nullptr;
};

inline void declare_positions(Declaration& declaration, int64_t batch,
                              int64_t maximum = kMaxPosition) {
  declaration.index("position", {batch}, 0, maximum);
}

// Returns the positions and advances those in the state by `steps`.
inline StreamPositions take_positions(Run& run, int64_t batch, int64_t steps,
                                      int64_t maximum = kMaxPosition) {
  const auto positions = run.state<int32_t>("position");
  auto* first = run.scratch<int32_t>(batch);
  for (int64_t b = 0; b < batch; ++b) {
    first[b] = positions[b];
    positions[b] = static_cast<int32_t>(std::min(first[b] + steps, maximum));
  }
  return StreamPositions(first);
}

}  // namespace sl
