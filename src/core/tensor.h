// Views of weight tensors, and their values as float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/shape.h"

namespace sl {

// A view of a contiguous tensor in a file or in memory.
struct Tensor {
  DType dtype = DType::kFloat32;
  Shape shape;
  const std::byte* data = nullptr;

  size_t bytes() const { return checked_bytes(shape.size(), size_of(dtype)); }
};

// A tensor's values as float32: the real parts and, for a complex tensor, the imaginary parts.
struct TensorParts {
  Shape shape;
  std::vector<float> real, imaginary;
};

}  // namespace sl
