// Weight tensors, as views.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/shape.h"

namespace sl {

// A view of a tensor in a file or in memory, contiguous.
struct Tensor {
  DType dtype = DType::kFloat32;
  Shape shape;
  const std::byte* data = nullptr;

  size_t bytes() const { return static_cast<size_t>(shape.size()) * size_of(dtype); }
};

}  // namespace sl
