// y[t, c] = sum_k kernel[k, c] * x[t - k, c] by Fourier transforms, for long kernels
// [length, channels] and x, y [batch, time, channels].
#pragma once

#include <cstdint>
#include <vector>

#include "core/run.h"
#include "ops/fft.h"

namespace sl::ops {

// The kernel is split into blocks of which only the spectra are kept, and the input is split
// likewise. A block of the output is the inverse transform of a sum of products of spectra.
class LongConvolution {
 public:
  // Steps of a block. A sequence takes the time of its length rounded up to whole blocks.
  static constexpr int64_t kBlock = 1024;

  // `kernel` is [length, channels].
  LongConvolution(Run& run, const float* kernel, int64_t length, int64_t channels);

  // Computes y of the same length as x, which must not be longer than the kernel. x and y are
  // float32 [batch, time, channels].
  void apply(Run& run, const Sequence& x, const Sequence& y) const;

 private:
  // A group of neighbouring channels of one batch item.
  struct Group {
    const float* x;
    float* y;
    int64_t first;
    int64_t count;
    int64_t steps;
  };

  int64_t spectrum_floats() const { return 2 * fft_.spectrum_size(); }
  // Operations for so many blocks of one channel.
  int64_t flop(int64_t blocks) const;
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
