// Reads fields that hold a channel shape.
#pragma once

#include <vector>

#include "core/config.h"

namespace sl {

// The maximum number of channel axes, besides batch and time.
constexpr int kMaxChannelRank = Shape::kMaxRank - 2;

// Converts sizes to a shape. Fails unless each is at least `minimum`. `field` is for messages only.
inline Shape to_shape(const Config& config, const char* field, const std::vector<int64_t>& sizes,
                      int64_t minimum) {
  if (sizes.size() > static_cast<size_t>(kMaxChannelRank)) {
    config.error(field, fmt::format("expected at most {} dimensions", kMaxChannelRank));
  }
  for (int64_t size : sizes) {
    if (size < minimum) config.error(field, fmt::format("expected sizes of at least {}", minimum));
  }
  return Shape(std::span(sizes));
}

}  // namespace sl
