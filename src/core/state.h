// The state of a stream: named tensors, one after the other in one block of memory. The first axis
// of each is the batch, so that the state of one item is a slice of every tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/shape.h"

namespace sl {

struct StateSpec {
  std::string name;  // path of its layer and its own name, joined by dots
  DType dtype = DType::kFloat32;
  Shape shape;      // [batch, ...]
  double fill = 0;  // value of every element at the start of a stream
  // Values that an int32 tensor can hold: a saved state with others is refused.
  int64_t minimum = std::numeric_limits<int32_t>::min();
  int64_t maximum = std::numeric_limits<int32_t>::max();
  bool is_position = false;   // moves from minimum to maximum as a stream does from start to end
  bool of_constants = false;  // depends on constants alone: the first step of a stream sets it
  int64_t ring_parts = 0;     // of the first of a Ring's tensors: its parts

  int64_t batch() const { return shape[0]; }
  size_t bytes() const { return checked_bytes(shape.size(), size_of(dtype)); }
  size_t item_bytes() const;
  // The name without the layer's path.
  std::string_view own_name() const;
  bool is_index() const { return dtype == DType::kInt32; }
};

struct StateLayout {
  std::vector<size_t> offsets;
  size_t bytes = 0;
};

// Places tensors one after the other, each aligned.
StateLayout layout_of(std::span<const StateSpec> specs);

// One tensor in the memory of a state.
struct StateTensor {
  const StateSpec& spec;
  std::byte* data;

  std::byte* item(int64_t b) const { return data + static_cast<size_t>(b) * spec.item_bytes(); }
};

// Tensors in the memory of a state, in the order in which the layers declared them.
struct StateTensors {
  std::span<const StateSpec> specs;
  std::span<const size_t> offsets;  // from `data`
  std::byte* data = nullptr;

  size_t size() const { return specs.size(); }
  StateTensor operator[](size_t i) const { return {specs[i], data + offsets[i]}; }
  StateTensors slice(size_t first, size_t count) const {
    return {specs.subspan(first, count), offsets.subspan(first, count), data};
  }
};

}  // namespace sl
