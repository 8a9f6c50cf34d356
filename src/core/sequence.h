// Views of sequences: contiguous values [batch, time, channels...] and a mask [batch, time].
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "core/shape.h"

namespace sl {

// Borrows its memory. Layers only read the sequences that they are given. Its sizes are checked, so
// that places within it, which are not, cannot overflow.
struct Sequence {
  DType dtype = DType::kFloat32;
  Shape channels;
  int64_t batch = 0;
  int64_t time = 0;
  std::byte* values = nullptr;
  uint8_t* mask = nullptr;  // 1: valid, 0: not

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

  bool all_valid() const { return std::memchr(mask, 0, static_cast<size_t>(steps())) == nullptr; }
  // The same values seen with another channel shape of equal size.
  Sequence with_channels(const Shape& shape) const {
    Sequence out = *this;
    out.channels = shape;
    return out;
  }
};

enum class Mode : int32_t { kLayer = 0, kStep = 1 };

// Shape of a sequence on its way through a model. In step mode `time` is the most steps of one
// call.
struct SequenceSpec {
  ChannelSpec channels;
  int64_t batch = 1;
  int64_t time = 0;
  Mode mode = Mode::kLayer;
  int64_t max_length = 0;  // in step mode: the most steps of the whole stream. 0: it has no end

  // Of the values.
  size_t bytes() const {
    return checked_bytes(checked_product(batch, time, channels.shape.size()),
                         size_of(channels.dtype));
  }
};

// A named input beside x. As a sequence it has a mask; as an array its whole shape is in `shape`.
struct Constant {
  std::string_view name;
  bool is_array = false;
  Sequence sequence;
  Shape shape;

  // What is left of the shape without batch and, of a sequence, time.
  Shape channels() const { return is_array ? shape.slice(1, shape.rank()) : sequence.channels; }
  int64_t batch() const { return is_array ? shape[0] : sequence.batch; }
};

class Constants {
 public:
  Constants() = default;
  explicit Constants(std::span<const Constant> all) : all_(all) {}
  // Null if there is none of that name.
  const Constant* find(std::string_view name) const {
    for (const Constant& c : all_) {
      if (c.name == name) return &c;
    }
    return nullptr;
  }
  // One that must be there; that it is has been checked before a run.
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
