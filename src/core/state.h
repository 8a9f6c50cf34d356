// The state of a stream: named tensors, one after the other in one block of memory. The first axis
// of each is the batch, so that the state of one item is a slice of every tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/sequence.h"
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
  int64_t ring_history = 0;   // and the frames that a call needs beside its own

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

// The slots of the items of a step, in their order. A state of batch N has N slots, each of which
// is at its own position in its own stream.
struct Slots {
  const int64_t* map = nullptr;  // slot of each item; null: neighbours from `first` on
  int64_t first = 0;
  int64_t count = 0;

  int64_t operator[](int64_t item) const { return map ? map[item] : first + item; }
};

// Slots that are in order and neighbours, as all slots of a state are, need no map.
Slots slots_of(std::span<const int64_t> slots);

// A state tensor's values of the items of a step, contiguous. Those of slots that are not
// neighbours are gathered in scratch, and return to the state when this object ends.
template <typename T>
class StateItems {
 public:
  StateItems() = default;
  StateItems(const StateTensor& tensor, const Slots& slots, std::byte* scratch)
      : values_(scratch), state_(tensor.data), item_bytes_(tensor.spec.item_bytes()), map_(slots) {
    for (int64_t b = 0; b < map_.count; ++b) std::memcpy(gathered(b), kept(b), item_bytes_);
  }
  explicit StateItems(std::byte* values) : values_(values) {}
  StateItems(const StateItems&) = delete;
  StateItems& operator=(const StateItems&) = delete;
  ~StateItems() {
    for (int64_t b = 0; b < map_.count; ++b) std::memcpy(kept(b), gathered(b), item_bytes_);
  }

  T* get() const { return reinterpret_cast<T*>(values_); }
  operator T*() const { return get(); }

 private:
  std::byte* gathered(int64_t b) const { return values_ + static_cast<size_t>(b) * item_bytes_; }
  std::byte* kept(int64_t b) const { return state_ + static_cast<size_t>(map_[b]) * item_bytes_; }

  std::byte* values_ = nullptr;
  std::byte* state_ = nullptr;
  size_t item_bytes_ = 0;
  Slots map_;  // without items unless they are gathered
};

// Calls fn(first, count) for each range of items in neighbouring slots of which the flags are 0.
template <typename Fn>
void each_range_of_zero(const int32_t* flags, const Slots& slots, int64_t batch, Fn&& fn) {
  const auto key = [&](int64_t b) { return std::pair(flags[b], slots[b] - b); };
  each_equal_range(batch, key, [&](int64_t first, int64_t count) {
    if (flags[first] == 0) fn(first, count);
  });
}

}  // namespace sl
