// Transposed convolution over frames, in up to three dimensions: time first, channels last.
//
// The outputs that lie a stride apart are an ordinary convolution of stride 1, whose kernel is
// every stride-th tap. So there are no sums that overlap, no tap meets a zero between inputs, and
// the last dimension's phases, next to each other in the output, are columns of one product.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ops/convolution.h"
#include "ops/transposed_window.h"

namespace sl::ops {

class TransposedConvolution {
 public:
  // kernel [kernel sizes..., input channels / groups, filters], one axis for each kernel size.
  // `bias` may be empty.
  TransposedConvolution(std::vector<TransposedWindow> axes, int64_t groups,
                        const Shape& kernel_shape, const std::vector<float>& kernel,
                        std::vector<float> bias);

  int64_t channels() const { return channels_; }
  int64_t filters() const { return filters_; }
  // Input positions that must lie before and after those of an axis.
  Pads pads(size_t axis) const { return pads_[axis]; }

  // y [batch, output lengths of the axes..., filters], contiguous. `in` holds its padding:
  // `lengths` are the input's without. Adds no bias if `with_bias` is false. Allocates nothing.
  void convolve(const ConvolutionInput& in, const std::array<int64_t, kMaxConvolutionRank>& lengths,
                bool with_bias, const Parallel& parallel, float* y) const;

 private:
  using Phase = TransposedWindow::Phase;
  // The convolution for one phase of each axis; on the last axis, for a run of phases.
  struct Part {
    std::array<Phase, kMaxConvolutionRank> at;
    Convolution convolution;
  };
  struct Kernel {
    const Shape& shape;
    const std::vector<float>& values;
  };

  size_t rank() const { return axes_.size(); }
  // Phases on the last axis, each list made by one convolution.
  std::vector<std::vector<Phase>> runs(int64_t groups) const;
  Part make_part(const std::array<Phase, kMaxConvolutionRank>& at, const std::vector<Phase>& run,
                 int64_t groups, const Kernel& kernel) const;
  void fill(int64_t rows, bool with_bias, const Parallel& parallel, float* y) const;

  std::vector<TransposedWindow> axes_;
  int64_t channels_;
  int64_t filters_;
  std::vector<float> bias_;
  std::array<Pads, kMaxConvolutionRank> pads_ = {};
  bool has_gaps_ = false;  // some outputs get no tap
  std::vector<Part> parts_;
};

}  // namespace sl::ops
