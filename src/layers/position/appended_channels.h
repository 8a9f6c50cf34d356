// Appends channels that depend only on the position of a step to the last axis.
#pragma once

#include <cstring>

#include "layers/layer.h"
#include "layers/position/step_counter.h"
#include "ops/elementwise.h"

namespace sl {

// The channel shape with `count` channels appended. A scalar channel counts as an axis of size 1.
inline Shape with_appended(Shape channels, int64_t count) {
  if (channels.empty()) channels.push_back(1);
  channels.back() = checked_sum(channels.back(), count);
  return channels;
}

// The output spec of a layer that appends `count` channels. Fails unless the input has a float
// dtype.
inline ChannelSpec appended_spec(const ChannelSpec& input, int64_t count) {
  if (!is_float(input.dtype)) {
    fail(Code::kShape, "expected inputs of a float dtype, got {}", name_of(input.dtype));
  }
  return {input.dtype, with_appended(input.shape, count)};
}

// Writes y: each row of the last axis of x, followed by the `count` floats of its step in `added`
// [positions.items, time, count].
inline void append_to_rows(Run& run, const Sequence& x, const Positions& positions,
                           const float* added, int64_t count, const Sequence& y) {
  const size_t element = size_of(x.dtype);
  const int64_t steps = positions.items * x.time;
  auto* converted =
      run.scratch<std::byte>(positions.max_items, x.time, count, static_cast<int64_t>(element));
  ops::convert(added, DType::kFloat32, converted, x.dtype, steps * count);
  const size_t added_bytes = static_cast<size_t>(count) * element;
  const size_t row_bytes = static_cast<size_t>(y.channels.back()) * element;
  const size_t own_bytes = row_bytes - added_bytes;
  const size_t rows = y.frame_bytes() / row_bytes;
  ops::for_steps(run, x.steps(), y.frame_size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      std::byte* to = y.values + at * y.frame_bytes();
      const std::byte* from = x.values + at * x.frame_bytes();
      const std::byte* behind = converted + static_cast<size_t>(i % steps) * added_bytes;
      for (size_t row = 0; row < rows; ++row, from += own_bytes, to += row_bytes) {
        std::memcpy(to, from, own_bytes);
        std::memcpy(to + own_bytes, behind, added_bytes);
      }
    }
  });
}

}  // namespace sl
