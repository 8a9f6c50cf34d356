// Splits a sequence into overlapping frames, for Frame and the layers that transform frames. A
// frame is copied only if a part of it is invalid or outside of the input.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ring.h"
#include "layers/early_windows.h"
#include "layers/layer.h"
#include "ops/window.h"

namespace sl {

// What frames that are padded by amounts hold beyond their first and last valid step: zeros, the
// steps within mirrored, or that step.
enum class FrameEnds { kZeros, kReflect, kEdge };

class Framing {
 public:
  // `history_is_invalid`: whether the history before the first step is invalid, as with explicit
  // padding.
  explicit Framing(ops::Window window, bool history_is_invalid = false,
                   FrameEnds ends = FrameEnds::kZeros);

  // The steps on which a frame depends, with those that frames at the ends mirror.
  const ops::Window& window() const { return window_; }
  int64_t frame_length() const { return frame_length_; }
  bool copies_ends() const { return ends_ != FrameEnds::kZeros; }
  bool history_is_invalid() const { return history_is_invalid_; }
  int64_t block_size() const { return window_.stride; }
  Ratio output_ratio() const { return Ratio(1, window_.stride); }
  bool supports_step() const { return window_.supports_step(); }
  int64_t input_latency() const;
  int64_t output_latency() const { return window_.output_latency(); }
  int64_t output_length(int64_t time) const { return window_.output_length(time); }
  void declare(Declaration& declaration, const SequenceSpec& input) const;

  // For layer-wise runs: sets the mask of y, and returns frame t of item b. The frame lies in x or,
  // if a part of it is invalid or outside of x, in `buffer`. With `valid`, no step of x is invalid.
  void layer_mask(const Sequence& x, const Sequence& y) const;
  const std::byte* frame(const Sequence& x, bool valid, int64_t b, int64_t t,
                         std::byte* buffer) const;
  // Bytes of a buffer for the frames of x: a frame or, if ends are copied, a window and its mask
  // too.
  size_t buffer_bytes(const Sequence& x) const;

  // The windows of a step in contiguous memory, with zeros in invalid steps.
  struct Frames {
    const Framing* framing;
    const std::byte* const* items;  // the first window of each batch item
    const uint8_t* const* masks;    // their masks; null if ends are zeros
    size_t step_bytes;
    // The frame; in `buffer` if steps are copied beyond its ends.
    const std::byte* at(int64_t b, int64_t t, std::byte* buffer) const {
      const int64_t first = t * framing->window_.stride;
      const std::byte* steps = items[b] + static_cast<size_t>(first) * step_bytes;
      return masks ? framing->with_ends(steps, masks[b] + first, step_bytes, buffer) : steps;
    }
  };
  // Returns the frames of a step and sets the mask of y.
  Frames step(Run& run, const Sequence& x, const Sequence& y) const;

 private:
  RingSpec ring_of(const ChannelSpec& frame) const;
  void copy_steps(const Sequence& x, int64_t b, int64_t first, int64_t count, std::byte* out) const;
  // The frame of a window with that mask: a part of it or, if the window has invalid steps, in
  // `buffer`.
  const std::byte* with_ends(const std::byte* window, const uint8_t* mask, size_t step_bytes,
                             std::byte* buffer) const;

  int64_t frame_length_;
  int64_t skipped_ = 0;  // steps of a window before its frame
  FrameEnds ends_;
  ops::Window window_;
  bool history_is_invalid_;
};

}  // namespace sl
