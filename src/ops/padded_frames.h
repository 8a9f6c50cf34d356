// Frames with padding around their spatial dimensions, as convolutions take them.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/ring.h"
#include "core/run.h"
#include "ops/convolution.h"
#include "ops/window.h"

namespace sl::ops {

// Where the `rows` runs of `row` floats that a frame holds lie in it.
struct FrameLayout {
  // Of a frame [spatial sizes..., channels], with the amounts for each spatial dimension.
  FrameLayout(const Shape& channels, std::span<const Pads> spatial);

  bool is_padded() const { return size != row; }

  std::array<int64_t, kMaxConvolutionRank> sizes = {};  // padded spatial ones, from index 1 on
  int64_t size = 0;                                     // floats
  int64_t rows = 1;
  int64_t row = 0;
  int64_t pitch = 0;
  int64_t offset = 0;
};

// Copies `count` frames, invalid ones as zeros; without a mask as they are. Leaves the padding
// alone.
void copy_frames(const FrameLayout& layout, const float* x, const uint8_t* mask, int64_t count,
                 float* out);

// x in `dtype`, padded in time too; with `masks` its invalid steps are zero. In scratch, unless x
// is all that already.
ConvolutionInput pad_frames(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
                            Pads time, bool masks);

// Appends x, masked, to a ring of such frames. The newest `history` frames and x.
ConvolutionInput push_frames(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
                             int64_t history, Ring& ring);

}  // namespace sl::ops
