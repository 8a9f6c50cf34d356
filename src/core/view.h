// Sequences and arrays as callers lay them out: strided, with or without a mask. They come in and
// go out here.
#pragma once

#include <array>
#include <cstdint>

#include "core/sequence.h"
#include "core/workspace.h"

namespace sl {

using Strides = std::array<int64_t, Shape::kMaxRank>;

// Strides of contiguous data of that shape.
Strides contiguous_strides(const Shape& dims, DType dtype);

struct View {
  DType dtype = DType::kFloat32;
  bool is_array = false;
  Shape dims;
  // Bytes; of as many axes as dims. Of a packed view they follow from the dims and are not set.
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
  // Steps [first, first + count).
  View slice(int64_t first, int64_t count) const;
};

// The view as a contiguous sequence: its own values where they are so already and `copy` does not
// insist, with a mask of zeros and ones.
Sequence import_sequence(Stack& stack, const View& view, bool copy = false);
Constant import_constant(Stack& stack, std::string_view name, const View& view, bool copy = false);

// Writes values, and the mask if the view has one.
void export_sequence(const Sequence& sequence, const View& view);

}  // namespace sl
