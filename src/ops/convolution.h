// Convolution of padded frames [batch, sizes..., channels] with a kernel
// [kernel sizes..., channels / groups, filters], over time and up to two spatial dimensions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/shape.h"
#include "ops/panels.h"
#include "ops/window.h"

namespace sl::ops {

constexpr int kMaxConvolutionRank = 3;

// Frames [batch, sizes..., channels], contiguous within a batch item.
struct ConvolutionInput {
  const float* x = nullptr;
  int64_t batch = 1;
  int64_t batch_pitch = 0;                              // floats from one item to the next
  std::array<int64_t, kMaxConvolutionRank> sizes = {};  // time, then the padded spatial sizes
  // For DirectConvolution only: padding of each size that x lacks and `sizes` leave out, and the
  // mask [batch, time] of steps that count as zero if they are invalid; null: none.
  std::array<Pads, kMaxConvolutionRank> pads = {};
  const uint8_t* mask = nullptr;
  int64_t following = 0;  // frames behind those of each item that another call will need
  // For Convolution only: x as pack_input() makes it; null: products pack what they read.
  const std::byte* packed = nullptr;
};

// The outputs to compute, `counts` positions on each axis, and the floats from one to the next.
struct ConvolutionOutput {
  float* y = nullptr;
  int64_t batch_pitch = 0;
  std::array<int64_t, kMaxConvolutionRank> counts = {};
  std::array<int64_t, kMaxConvolutionRank> pitches = {};
};

// A convolution with its weights packed for the method by which they are multiplied.
class Convolution {
 public:
  // kernel [kernel sizes..., input channels / groups, filters], one window for each kernel size.
  // `bias` may be empty.
  Convolution(std::vector<Window> axes, int64_t groups, const Kernel& kernel,
              std::vector<float> bias);

  int64_t channels() const { return groups_ * group_channels_; }
  int64_t filters() const { return filters_; }
  bool is_depthwise() const { return method_ == Method::kDepthwise; }

  // Multiplies the filters by the factors, one for each; false if they lie in panels, which the
  // model shares and can write to a file. Before the first use only.
  bool rescale(std::span<const float> factors);
  void set_bias(std::vector<float> bias) { bias_ = std::move(bias); }

  // Bytes to take for the packed form of an input, in which each value is quantized once for all
  // products, and for other convolutions if `is_shared`; 0 if products do not take that or would
  // not share it. Grows with the input.
  int64_t packed_input_bytes(const ConvolutionInput& in, bool is_shared = false) const;
  // The input with its packed form, which goes to `memory`; unchanged if it is too large.
  ConvolutionInput pack_input(const ConvolutionInput& in, std::byte* memory) const;
  // Bytes from the beginning of a packed input to what `floats` floats became, a multiple of
  // channels().
  int64_t packed_offset(int64_t floats) const;

  // y [batch, windows in each of the sizes..., filters], contiguous. Adds no bias if `with_bias` is
  // false. Allocates nothing.
  void convolve(const ConvolutionInput& in, bool with_bias, const Parallel& parallel,
                float* y) const;
  // Computes only the first out.counts windows of each axis and writes outputs at any pitch. Adds
  // no bias if `with_bias` is false. Allocates nothing.
  void convolve(const ConvolutionInput& in, bool with_bias, const Parallel& parallel,
                const ConvolutionOutput& out) const;

 private:
  // How the filters of one output position are computed.
  enum class Method {
    kRuns,       // one product for each contiguous run of inputs, added up
    kGathered,   // short runs are copied together first, for one product
    kDepthwise,  // one input channel per group
  };
  // The number of outputs of a dimension, and the floats between two in input and output.
  struct OutputAxis {
    int64_t count = 1;
    int64_t x_step = 0;
    int64_t y_step = 0;
  };
  // One axis, `rows`, is computed by one product for each position on the other axes.
  struct Plan {
    OutputAxis rows;
    std::array<OutputAxis, kMaxConvolutionRank> others;
    int64_t other_count = 1;
    std::array<int64_t, kMaxConvolutionRank> pitches =
        {};  // floats from one input position to the next
  };
  // Output positions of one product, with pointers to the first one, and the filters to compute of
  // each group.
  struct Rows {
    const float* x;
    float* y;
    int64_t count;
    int64_t x_step;
    int64_t y_step;
    const float* bias;
    int64_t first_filter;
    int64_t last_filter;
    const std::byte* packed = nullptr;  // x as kernels::pack_row() makes it; null: it was not
  };
  struct Units;  // the outputs of one call, divided into units and those into parts
  struct Job;    // the outputs of one call, as the threads of a step share them

  int rank() const { return static_cast<int>(axes_.size()); }
  int64_t weights() const { return kernel_positions_ * group_channels_ * filters_; }
  int64_t weight_bytes() const;
  int64_t taps() const { return static_cast<int64_t>(tap_indices_.size()); }
  Plan plan(const ConvolutionInput& in, const ConvolutionOutput& out) const;
  int64_t tap_offset(const Plan& plan, int64_t tap) const;
  Panels pack(const Kernel& kernel) const;
  // Whether products take inputs that are packed once for all of them.
  bool takes_packed_rows() const;
  // Floats of the inputs of one item that the outputs need.
  int64_t input_span(const Plan& plan, const ConvolutionOutput& out) const;
  // Divides the outputs for the threads of a step.
  Job job(const Plan& plan, const float* x, float* y, const float* bias) const;
  // Computes all with the help of the threads of a step; false if it is too small or they do not
  // help.
  bool share(const StepTeam& team, const Plan& plan, const ConvolutionInput& in, const float* bias,
             const ConvolutionOutput& out) const;
  // Computes all units for one part of the filters after the other, or each on a thread.
  void compute_by_filters(const Units& units, const ConvolutionInput& in, const float* bias,
                          int64_t parts, const Parallel& parallel, float* y) const;
  void compute(const Plan& plan, const Rows& rows) const;
  void compute_runs(const Plan& plan, const Rows& rows) const;
  void compute_packed(const Plan& plan, const Rows& rows) const;
  void compute_gathered(const Plan& plan, const Rows& rows) const;
  void compute_depthwise(const Plan& plan, const Rows& rows) const;

  std::vector<Window> axes_;
  int64_t groups_;
  int64_t group_channels_;  // input channels of a group
  int64_t filters_;
  int64_t kernel_positions_;
  Method method_ = Method::kRuns;
  // A tap is a run of `run_` contiguous inputs. tap_indices_ has the position of each tap's first
  // input within the dilated kernel.
  int64_t run_;
  std::vector<std::array<int64_t, kMaxConvolutionRank>> tap_indices_;
  Panels panels_;                 // of each group, one matrix for each product
  std::vector<float> depthwise_;  // the kernel of a depthwise convolution, which has no panels
  std::vector<float> bias_;
};

}  // namespace sl::ops
