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

class Framing {
 public:
  // `history_is_invalid`: whether the history before the first step is invalid, as with explicit
  // padding.
  explicit Framing(ops::Window window, bool history_is_invalid = false)
      : window_(window), history_is_invalid_(history_is_invalid) {}

  const ops::Window& window() const { return window_; }
  bool history_is_invalid() const { return history_is_invalid_; }
  int64_t block_size() const { return window_.stride; }
  Ratio output_ratio() const { return Ratio(1, window_.stride); }
  bool supports_step() const { return window_.supports_step(); }
  int64_t input_latency() const;
  int64_t output_latency() const { return window_.output_latency(); }
  int64_t output_length(int64_t time) const { return window_.output_length(time); }
  void declare(Declaration& declaration, const SequenceSpec& input) const;

  // For layer-wise runs: sets the mask of y, and returns frame t of item b. The frame lies in x or,
  // if a part of it is invalid or outside of x, in `buffer`.
  void layer_mask(const Sequence& x, const Sequence& y) const;
  const std::byte* frame(const Sequence& x, int64_t b, int64_t t, std::byte* buffer) const;

  // The frames of a step in contiguous memory, with zeros in invalid steps.
  struct Frames {
    const std::byte* const* items;  // the first frame of each batch item
    size_t frame_bytes;             // from one frame's start to the next one's
    const std::byte* at(int64_t b, int64_t t) const {
      return items[b] + static_cast<size_t>(t) * frame_bytes;
    }
  };
  // Returns the frames of a step and sets the mask of y.
  Frames step(Run& run, const Sequence& x, const Sequence& y) const;

 private:
  RingSpec ring_of(const ChannelSpec& frame) const;
  void copy_steps(const Sequence& x, int64_t b, int64_t first, int64_t count, std::byte* out) const;

  ops::Window window_;
  bool history_is_invalid_;
};

}  // namespace sl
