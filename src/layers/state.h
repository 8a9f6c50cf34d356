// What the tensors of a state hold at the start of a stream.
#pragma once

#include <cstddef>

#include "layers/layer.h"

namespace sl {

inline size_t bytes_of(const StateTensor& tensor) {
  return static_cast<size_t>(tensor.shape.size()) * size_of(tensor.dtype);
}

void initialise(const StateTensor& tensor, std::byte* data);

}  // namespace sl
