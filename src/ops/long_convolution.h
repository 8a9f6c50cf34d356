// Causal convolution of every channel with a long kernel of its own, by Fourier transforms.
#pragma once

#include <cstdint>
#include <vector>

#include "core/run.h"
#include "ops/fft.h"

namespace sl::ops {

// The kernel is cut into blocks of which only the spectra are kept. So is the input; a block of the
// output is the inverse transform of a sum of products.
class LongConvolution {
 public:
  // Steps of a block: any length takes the time of whole blocks.
  static constexpr int64_t kBlock = 1024;

  // `kernel` is [length, channels].
  LongConvolution(Run& run, const float* kernel, int64_t length, int64_t channels);

  // The first x.time steps of the convolution, for at most as many as the kernel has: x and y are
  // float32 [batch, time, channels].
  void apply(Run& run, const Sequence& x, const Sequence& y) const;

 private:
  // One item's channels that lie together.
  struct Group {
    const float* x;
    float* y;
    int64_t first;
    int64_t count;
    int64_t steps;
  };

  int64_t spectrum_floats() const { return 2 * fft_.spectrum_size(); }
  int64_t row_size(int64_t blocks) const;
  int64_t scratch_size(int64_t blocks) const;
  void convolve(const Group& group, float* scratch) const;
  void convolve_channel(int64_t channel, int64_t blocks, float* row, float* scratch) const;

  int64_t channels_;
  int64_t blocks_;
  RealFft fft_;
  std::vector<float> spectra_;  // [channels, blocks, spectrum]
};

}  // namespace sl::ops
