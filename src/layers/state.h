// The memory of a state: where its tensors lie in it, and what they hold at the start of a stream.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "layers/layer.h"

namespace sl {

inline size_t bytes_of(const StateTensor& tensor) {
  return checked_bytes(tensor.shape.size(), size_of(tensor.dtype));
}

struct StateLayout {
  std::vector<size_t> offsets;
  size_t bytes = 0;
};

// One after the other, each aligned.
StateLayout layout_of(std::span<const StateTensor> tensors);

void initialise(const StateTensor& tensor, std::byte* data);

}  // namespace sl
