// Pooling: y is the minimum, maximum or mean of x over windows in time and up to two spatial
// dimensions. Padding and invalid steps are left out of minimum and maximum, and are zeros in a
// mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/run.h"
#include "ops/sliding_fold.h"
#include "ops/window.h"

namespace sl::ops {

enum class Pooling { kMin, kMax, kAverage };

class Pool {
 public:
  // `axes` has the window over time, then one for each spatial dimension. With `masked`, means are
  // over valid steps only.
  Pool(Pooling op, std::vector<Window> axes, bool masked);

  const Window& time() const { return axes_[0]; }
  size_t rank() const { return axes_.size(); }
  // Operations that make y: of each output one for each input but the first, and the division of a
  // mean. Windows that overlap may share some of them.
  int64_t flop(const Sequence& y) const;
  // Spec of the output. Fails if the input's dtype or shape cannot be pooled.
  ChannelSpec output_spec(const ChannelSpec& input) const;

  // Spec of frames in the form in which they are pooled: bfloat16, float16 and complex numbers as
  // float32.
  static ChannelSpec frame_spec(const ChannelSpec& input);
  // The value of padding and of invalid steps in a frame.
  double missing(DType frame_dtype) const;
  // Writes steps [begin, begin + count) of item b to `frames`, in the form of frame_spec().
  void load(const Sequence& x, int64_t b, int64_t begin, int64_t count, std::byte* frames) const;

  // Frames of one batch item, and the frame at which the first window starts, negative if it starts
  // in the padding before them.
  struct Input {
    ChannelSpec spec;  // spec of the sequence from which the frames were loaded
    const std::byte* frames;
    const uint8_t* mask;
    int64_t count;
    int64_t first;
  };
  // Computes steps [begin, begin + count) of item b of y.
  void pool(const Input& in, const Sequence& y, int64_t b, int64_t begin, int64_t count,
            std::byte* scratch) const;
  int64_t scratch_bytes(const ChannelSpec& input, int64_t frames, int64_t outputs) const;

  // Computes all values of y, with the padding of the layer-wise run.
  void pool_all(Run& run, const Sequence& x, const Sequence& y) const;

 private:
  static constexpr size_t kMaxRank = 3;

  // The reductions along each dimension, which run one after the other. Spatial dimensions with a
  // window of one element are left out.
  struct Passes {
    std::array<Slide, kMaxRank> all;
    size_t count = 0;

    // Elements of a result between two passes, and of the scratch of any pass.
    int64_t max_between() const;
    int64_t max_scratch() const;
  };
  // Outputs are computed in tiles of several steps.
  struct Tiles {
    int64_t outputs;   // output steps of a tile
    int64_t frames;    // maximum number of frames that a tile reads
    int64_t per_item;  // tiles of a batch item
  };

  Fold fold() const;
  Passes passes(const ChannelSpec& input, int64_t frames, int64_t first, int64_t outputs) const;
  Tiles tiles(const Sequence& x, const Sequence& y) const;
  // Whether the values of x already have the form of frame_spec().
  bool is_loaded(const Sequence& x) const;
  void pool_tile(const Sequence& x, bool loaded, const Sequence& y, int64_t b, int64_t begin,
                 int64_t count, std::byte* scratch) const;
  void divide(const Input& in, DType dtype, std::byte* sums, int64_t count, int64_t size) const;
  int64_t inputs_per_step() const;
  int64_t valid_steps(const Input& in, int64_t output) const;

  Pooling op_;
  std::vector<Window> axes_;
  bool masked_;
};

}  // namespace sl::ops
