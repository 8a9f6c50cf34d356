#include "layers/state.h"

#include <array>
#include <cstring>

#include "core/allocator.h"
#include "ops/elementwise.h"

namespace sl {

StateLayout layout_of(std::span<const StateTensor> tensors) {
  StateLayout layout;
  for (const StateTensor& tensor : tensors) {
    layout.offsets.push_back(layout.bytes);
    try {
      layout.bytes = checked_add(layout.bytes, align_up(bytes_of(tensor)));
    } catch (const SizeError& error) {
      fail(error.code(), "state \"{}\", after {} bytes of others: {}", tensor.name, layout.bytes,
           error.what());
    }
  }
  return layout;
}

void initialise(const StateTensor& tensor, std::byte* data) {
  if (tensor.fill == 0) {
    std::memset(data, 0, bytes_of(tensor));
    return;
  }
  const size_t element = size_of(tensor.dtype);
  const auto value = static_cast<float>(tensor.fill);
  std::array<std::byte, sizeof(complex64)> one{};
  ops::convert(&value, DType::kFloat32, one.data(), tensor.dtype, 1);
  for (size_t at = 0; at < bytes_of(tensor); at += element)
    std::memcpy(data + at, one.data(), element);
}

}  // namespace sl
