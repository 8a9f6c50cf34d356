// Pooling: the least, the greatest or the mean of what windows over time and up to two spatial
// dimensions cover. In padding and in invalid steps they find nothing, or zeros if it is the mean.
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
  // A window for time, then one for each spatial dimension. If `masked`, means are over valid
  // steps.
  Pool(Pooling op, std::vector<Window> axes, bool masked);

  const Window& time() const { return axes_[0]; }
  size_t rank() const { return axes_.size(); }
  // Fails if that cannot be pooled.
  ChannelSpec output_spec(const ChannelSpec& input) const;

  // Frames as they are pooled: halves and complex numbers as float32.
  static ChannelSpec frame_spec(const ChannelSpec& input);
  // What a frame holds that is not there.
  double missing(DType frame_dtype) const;
  // Steps [begin, begin + count) of item b as such frames.
  void load(const Sequence& x, int64_t b, int64_t begin, int64_t count, std::byte* frames) const;

  // Frames of one batch item, and where in them (before them, if negative) the first window
  // starts.
  struct Input {
    ChannelSpec spec;  // of what they were loaded from
    const std::byte* frames;
    const uint8_t* mask;
    int64_t count;
    int64_t first;
  };
  // Values of `count` steps of y's item b, from `begin` on.
  void pool(const Input& in, const Sequence& y, int64_t b, int64_t begin, int64_t count,
            std::byte* scratch) const;
  int64_t scratch_bytes(const ChannelSpec& input, int64_t frames, int64_t outputs) const;

  // All values of y, whose windows start where padding lets them.
  void pool_all(Run& run, const Sequence& x, const Sequence& y) const;

 private:
  static constexpr size_t kMaxRank = 3;

  // One after the other. Those of spatial dimensions that change nothing are left out.
  struct Passes {
    std::array<Slide, kMaxRank> all;
    size_t count = 0;

    int64_t most_output() const;
    int64_t most_scratch() const;
  };
  // How outputs are made that belong together.
  struct Tiles {
    int64_t outputs;  // of one
    int64_t frames;   // that one reads, at most
    int64_t per_item;
  };

  Fold fold() const;
  Passes passes(const ChannelSpec& input, int64_t frames, int64_t first, int64_t outputs) const;
  Tiles tiles(const Sequence& x, const Sequence& y) const;
  // Whether the values of x are frames already.
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
