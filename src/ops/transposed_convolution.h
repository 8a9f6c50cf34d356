// Transposed convolution of frames [batch, sizes..., channels] with a kernel
// [kernel sizes..., channels / groups, filters], over time and up to two spatial dimensions.
//
// Outputs that lie a stride apart, called a phase, are an ordinary convolution of stride 1 whose
// kernel is every stride-th tap. No sums overlap and no tap is multiplied with a zero between
// inputs. Phases of the last dimension are neighbours in the output, so they are columns of one
// product.
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
  TransposedConvolution(std::vector<TransposedWindow> axes, int64_t groups, const Kernel& kernel,
                        std::vector<float> bias);

  int64_t channels() const { return channels_; }
  int64_t filters() const { return filters_; }
  // Padding of the input that the axis needs before and after.
  Pads pads(size_t axis) const { return pads_[axis]; }

  // For inputs, as Convolution has them: all phases share one packed form.
  int64_t packed_input_bytes(const ConvolutionInput& in) const {
    if (parts_.empty()) return 0;
    return parts_.front().convolution.packed_input_bytes(in, parts_.size() > 1);
  }
  ConvolutionInput pack_input(const ConvolutionInput& in, std::byte* memory) const {
    return parts_.front().convolution.pack_input(in, memory);
  }

  // Computes y [batch, output lengths of the axes..., filters], contiguous. `in` includes the
  // padding, `lengths` are the sizes of the input without it. Adds no bias if `with_bias` is false.
  // Allocates nothing.
  void convolve(const ConvolutionInput& in, const std::array<int64_t, kMaxConvolutionRank>& lengths,
                bool with_bias, const Parallel& parallel, float* y) const;

 private:
  using Phase = TransposedWindow::Phase;
  // The convolution for one phase of each axis, and for a run of neighbouring phases of the last
  // axis.
  struct Part {
    std::array<Phase, kMaxConvolutionRank> at;
    Convolution convolution;
  };
  size_t rank() const { return axes_.size(); }
  // Runs of phases on the last axis. One convolution computes each run.
  std::vector<std::vector<Phase>> runs(int64_t groups) const;
  Part make_part(const std::array<Phase, kMaxConvolutionRank>& at, const std::vector<Phase>& run,
                 int64_t groups, const Kernel& kernel) const;
  std::vector<float> part_values(std::array<Phase, kMaxConvolutionRank> phases,
                                 const std::vector<Phase>& run, const Shape& shape,
                                 const Kernel& kernel) const;
  void fill(int64_t rows, bool with_bias, const Parallel& parallel, float* y) const;

  std::vector<TransposedWindow> axes_;
  int64_t channels_;
  int64_t filters_;
  std::vector<float> bias_;
  std::array<Pads, kMaxConvolutionRank> pads_ = {};
  bool has_gaps_ = false;  // whether some outputs get no tap
  std::vector<Part> parts_;
};

}  // namespace sl::ops
