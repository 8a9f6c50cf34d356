// Channel axes as configs number them: batch and time count, so that the first channel axis is 2,
// and negative numbers count from the end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/shape.h"
#include "core/status.h"

namespace sl {

constexpr int kFirstChannelAxis = 2;

// The index of an axis among the channels. Fails if it is batch or time, or if there is no such
// axis.
inline int channel_axis(int64_t axis, const Shape& channels) {
  const int64_t index = (axis < 0 ? axis + channels.rank() : axis - kFirstChannelAxis);
  if (index < 0 || index >= channels.rank()) {
    fail(Code::kShape, "axis {} is not a channel axis of the input: channels {} are axes 2 to {}",
         axis, to_string(channels), channels.rank() + 1);
  }
  return static_cast<int>(index);
}

// The set of channel axes as bits. Fails if one is given twice.
inline uint32_t channel_axes(std::span<const int64_t> axes, const Shape& channels) {
  uint32_t bits = 0;
  for (int64_t axis : axes) {
    const uint32_t bit = 1u << channel_axis(axis, channels);
    if (bits & bit) fail(Code::kShape, "axis {} is given twice", axis);
    bits |= bit;
  }
  return bits;
}

inline bool names_batch_or_time(std::span<const int64_t> axes) {
  for (int64_t axis : axes) {
    if (axis == 0 || axis == 1) return true;
  }
  return false;
}

}  // namespace sl
