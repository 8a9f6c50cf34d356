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

// Layout of a frame with spatial padding: it holds `rows` runs of `row` floats, `pitch` floats
// apart from `offset` on, and padding between them.
struct FrameLayout {
  // The frame is [spatial sizes..., channels]; `spatial` has the padding of each spatial dimension.
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
// Frames without their padding, for a convolution that pads them itself by `pads`.
FrameParts bare_parts(Run& run, const Sequence& x, DType dtype, std::span<const Pads> pads,
                      bool masks);

// The history of a stream's frames: a ring for each part.
class FrameHistory {
 public:
  static void declare(Declaration& declaration, const RingSpec& ring, const SequenceSpec& input,
                      DType dtype);

  // Appends x's parts, masked.
  FrameHistory(Run& run, const FrameLayout& layout, const Sequence& x, DType dtype,
               const RingSpec& spec);

  // Mask of history and x.
  const uint8_t* mask(int64_t b) const { return first_.newest_mask(b, frames_); }
  // Calls fn(parts, first, count) with the frames of history and x of items [first, first + count),
  // as often as it takes for all items, which may stand at different positions. With `at_once` that
  // is once: frames that do not lie evenly are copied, which costs less than to read large weights
  // for each item. Scratch that fn takes is given back when it returns.
  template <typename Fn>
  void each_range(Run& run, bool at_once, Fn&& fn) const {
    // Taken even if not needed: what a step allocates must not depend on where items stand.
    auto* gathered = at_once && batch_ > 1 ? run.scratch<float>(gathered_size()) : nullptr;
    if (gathered && !first_.is_one_range(batch_)) {
      run.with_scratch([&] { fn(gather(gathered), 0, batch_); });
      return;
    }
    first_.each_range(batch_, [&](int64_t first, int64_t count) {
      run.with_scratch([&] { fn(frames(first, count), first, count); });
    });
  }

 private:
  void push(Run& run, const Sequence& x, DType dtype, Ring& ring) const;
  FrameParts frames(int64_t first, int64_t count) const;
  int64_t gathered_size() const {
    return checked_product(static_cast<int64_t>(count_), batch_, frames_, layout_.size);
  }
  // Copies the frames of all items to `out`.
  FrameParts gather(float* out) const;

  const FrameLayout& layout_;
  int64_t batch_, frames_;
  size_t count_ = 1;  // of the parts
  Ring first_, second_;
};

// The input of a convolution, packed for its products if they share that.
template <typename Convolution>
ConvolutionInput packed_input(Run& run, const Convolution& convolution,
                              const ConvolutionInput& in) {
  const int64_t bytes = convolution.packed_input_bytes(in);
  return bytes > 0 ? convolution.pack_input(in, run.scratch<std::byte>(bytes)) : in;
}

}  // namespace sl::ops
