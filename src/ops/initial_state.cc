#include "ops/initial_state.h"

#include <array>
#include <cstring>

#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// One element of the value, of which float32 holds all that are not int32.
std::array<std::byte, sizeof(complex64)> element_of(const StateSpec& spec) {
  std::array<std::byte, sizeof(complex64)> out{};
  if (spec.dtype == DType::kInt32) {
    const auto value = static_cast<int32_t>(spec.fill);
    std::memcpy(out.data(), &value, sizeof(value));
  } else {
    const auto value = static_cast<float>(spec.fill);
    convert(&value, DType::kFloat32, out.data(), spec.dtype, 1);
  }
  return out;
}

}  // namespace

void initialise(const StateTensor& tensor, int64_t first, int64_t count) {
  std::byte* const data = tensor.item(first);
  const size_t bytes = static_cast<size_t>(count) * tensor.spec.item_bytes();
  if (tensor.spec.fill == 0) {
    if (bytes > 0) std::memset(data, 0, bytes);
    return;
  }
  const auto element = element_of(tensor.spec);
  const size_t size = size_of(tensor.spec.dtype);
  for (size_t at = 0; at < bytes; at += size) std::memcpy(data + at, element.data(), size);
}

}  // namespace sl::ops
