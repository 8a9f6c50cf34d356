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

// Frames as floats: x's own, or if they are to be complex its real parts and, if x is complex, its
// imaginary parts.
struct FrameParts {
  std::span<const ConvolutionInput> all() const { return std::span(parts).first(count); }

  std::array<ConvolutionInput, 2> parts;
  size_t count = 1;
};
FrameParts pad_parts(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype, Pads time,
                     bool masks);

// The rings of a stream's frames, one for each part.
template <typename Declaration>
void declare_frames(Declaration& declaration, const RingSpec& ring, const SequenceSpec& input,
                    DType dtype) {
  Ring::declare(declaration, ring, input.batch, input.time);
  if (dtype != DType::kComplex64 || input.channels.dtype != DType::kComplex64) return;
  declaration.within("imaginary", "imaginary",
                     [&] { Ring::declare(declaration, ring, input.batch, input.time); });
}
// Appends x's parts, masked, to these rings, of which `ring` is the first. The newest frames of
// history and x.
FrameParts push_parts(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
                      const RingSpec& spec, Ring& ring);

// Appends x, masked, to a ring of such frames. The newest `history` frames and x.
ConvolutionInput push_frames(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
                             int64_t history, Ring& ring);

}  // namespace sl::ops
