// Sequences and arrays in the caller's layout, strided and with or without a mask, and their
// conversion from and to contiguous sequences.
#pragma once

#include <array>
#include <cstdint>

#include "core/parallel.h"
#include "core/sequence.h"
#include "core/workspace.h"

namespace sl {

using Strides = std::array<int64_t, Shape::kMaxRank>;

// Byte strides of contiguous data of that shape.
Strides contiguous_strides(const Shape& dims, DType dtype);

struct View {
  DType dtype = DType::kFloat32;
  bool is_array = false;
  Shape dims;
  // In bytes, one for each axis of dims. Not set for a packed view, whose dims determine them.
  Strides strides;
  std::byte* data = nullptr;
  uint8_t* mask = nullptr;
  int64_t mask_strides[2] = {0, 0};
  bool packed = false;

  ChannelSpec channels() const { return {dtype, dims.slice(2, dims.rank())}; }
  bool has_channels(const ChannelSpec& spec) const {
    return dtype == spec.dtype && dims.ends_with(spec.shape, 2);
  }
  bool contiguous() const;
  // The view of steps [first, first + count).
  View slice(int64_t first, int64_t count) const;
};

// The view as a contiguous sequence with a mask of zeros and ones. It uses the view's own values if
// they are contiguous and `copy` is false. Threads share what is large.
Sequence import_sequence(Stack& stack, const View& view, bool copy = false,
                         const Parallel* parallel = nullptr);
Constant import_constant(Stack& stack, std::string_view name, const View& view, bool copy = false);

// Writes values, and the mask if the view has one. Threads share what is large.
void export_sequence(const Sequence& sequence, const View& view,
                     const Parallel* parallel = nullptr);

}  // namespace sl
