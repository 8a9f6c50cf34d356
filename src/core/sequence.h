// Views of sequences: contiguous values [batch, time, channels...] and a mask [batch, time].
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "core/shape.h"

namespace sl {

// A view that borrows its memory. Layers only read their input sequences. The sizes are checked, so
// that offsets within a sequence, which are not, cannot overflow.
struct Sequence {
  DType dtype = DType::kFloat32;
  Shape channels;
  int64_t batch = 0;
  int64_t time = 0;
  std::byte* values = nullptr;
  uint8_t* mask = nullptr;  // 1 for valid steps, 0 for invalid ones

  ChannelSpec spec() const { return {dtype, channels}; }
  int64_t steps() const { return checked_product(batch, time); }
  int64_t frame_size() const { return channels.size(); }
  size_t frame_bytes() const { return checked_bytes(frame_size(), size_of(dtype)); }
  size_t bytes() const { return checked_bytes(size(), size_of(dtype)); }
  int64_t size() const { return checked_product(steps(), frame_size()); }

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(values);
  }
  float* floats() const { return as<float>(); }
  // Values and mask from step t of item b on.
  std::byte* frame(int64_t b, int64_t t) const {
    return values + static_cast<size_t>(b * time + t) * frame_bytes();
  }
  uint8_t* mask_at(int64_t b, int64_t t) const { return mask + b * time + t; }

  // Items [first, first + count).
  Sequence items(int64_t first, int64_t count) const {
    Sequence out = *this;
    out.batch = count;
    out.values = values + static_cast<size_t>(first * time) * frame_bytes();
    if (mask) out.mask = mask + first * time;
    return out;
  }

  // Steps [begin, end) of item b.
  Sequence piece(int64_t b, int64_t begin, int64_t end) const {
    Sequence out = *this;
    out.batch = 1;
    out.time = end - begin;
    out.values = frame(b, begin);
    out.mask = mask_at(b, begin);
    return out;
  }

  bool all_valid() const { return std::memchr(mask, 0, static_cast<size_t>(steps())) == nullptr; }
  // A view of the values with another channel shape of equal size.
  Sequence with_channels(const Shape& shape) const {
    Sequence out = *this;
    out.channels = shape;
    return out;
  }
};

enum class Mode : int32_t { kLayer = 0, kStep = 1 };

// Shape of a sequence between layers of a model. In step mode `time` is the maximum number of steps
// of one call.
struct SequenceSpec {
  ChannelSpec channels;
  int64_t batch = 1;
  int64_t time = 0;
  Mode mode = Mode::kLayer;
  int64_t max_length = 0;  // in step mode, the maximum steps of the whole stream; 0 for no maximum

  // Bytes of the values.
  size_t bytes() const {
    return checked_bytes(checked_product(batch, time, channels.shape.size()),
                         size_of(channels.dtype));
  }
};

// Calls fn(first, count) for each range of neighbouring batch items whose key(item) is equal.
template <typename Key, typename Fn>
void each_equal_range(int64_t batch, Key&& key, Fn&& fn) {
  for (int64_t first = 0; first < batch;) {
    int64_t end = first + 1;
    while (end < batch && key(end) == key(first)) ++end;
    fn(first, end - first);
    first = end;
  }
}

// A named input besides x: a sequence with a mask, or an array whose whole shape is in `shape`.
struct Constant {
  std::string_view name;
  bool is_array = false;
  Sequence sequence;
  Shape shape;

  // The shape without the batch and, for a sequence, without time.
  Shape channels() const { return is_array ? shape.slice(1, shape.rank()) : sequence.channels; }
  int64_t batch() const { return is_array ? shape[0] : sequence.batch; }
};

class Constants {
 public:
  Constants() = default;
  explicit Constants(std::span<const Constant> all) : all_(all) {}
  // The constant of that name; null if there is none.
  const Constant* find(std::string_view name) const {
    for (const Constant& c : all_) {
      if (c.name == name) return &c;
    }
    return nullptr;
  }
  // A required constant. A run starts only after checking that all of them are given.
  const Constant& get(std::string_view name) const {
    const Constant* constant = find(name);
    if (!constant) fail(Code::kInvalidArgument, "constant \"{}\" is missing", name);
    return *constant;
  }
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }

 private:
  std::span<const Constant> all_;
};

}  // namespace sl
