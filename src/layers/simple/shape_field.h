// Fields that hold a channel shape.
#pragma once

#include <vector>

#include "core/config.h"

namespace sl {

// Beside batch and time.
constexpr int kMaxChannelRank = Shape::kMaxRank - 2;

// The sizes, each of at least `least`. `field` is for messages only.
inline Shape to_shape(const Config& config, const char* field, const std::vector<int64_t>& sizes,
                      int64_t least) {
  if (sizes.size() > static_cast<size_t>(kMaxChannelRank)) {
    config.error(field, fmt::format("expected at most {} dimensions", kMaxChannelRank));
  }
  for (int64_t size : sizes) {
    if (size < least) config.error(field, fmt::format("expected sizes of at least {}", least));
  }
  return Shape(std::span(sizes));
}

}  // namespace sl
