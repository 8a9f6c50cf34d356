// Convolution that reads its inputs where they lie: over time and space, and for few filters. It
// pads rows one by one while it computes, so that no padded copy of the whole input is made.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/allocator.h"
#include "core/run.h"
#include "ops/activation.h"
#include "ops/convolution.h"
#include "ops/window.h"

namespace sl::ops {

class DirectConvolution {
 public:
  // Whether the kernel [kernel sizes..., input channels / groups, filters] suits this method.
  static bool suits(const std::vector<Window>& axes, int64_t groups, const Shape& kernel_shape);

  // As for Convolution.
  DirectConvolution(std::vector<Window> axes, int64_t groups, const Shape& kernel_shape,
                    const std::vector<float>& kernel, const std::vector<float>& bias);

  int64_t channels() const { return groups_ * group_channels_; }
  int64_t filters() const { return groups_ * group_filters_; }
  // As for Convolution.
  bool rescale(std::span<const float> factors);
  void set_bias(const std::vector<float>& bias);
  // Whether `convolve` takes frames that lack their padding and masking.
  bool pads() const;
  // Whether the weights are so large that each is to be read once for all positions of a row.
  bool takes_whole_rows() const;

  // y [batch, windows in each of the padded sizes..., filters], contiguous. Adds no bias if
  // `with_bias` is false. Applies the activation, if there is one, to each row of filters.
  void convolve(Run& run, const ConvolutionInput& in, bool with_bias, const Activation* activation,
                float* y) const;

 private:
  // The padded ends of a row, and what is between them.
  static constexpr size_t kMaxSegments = 3;

  struct Segment;
  struct Job;     // one call of convolve
  struct Shared;  // a call as the threads of a step share it
  class Rows;     // the inputs of one thread's rows
  // Positions and filters of each group that are computed of a unit.
  struct Piece {
    int64_t begin, end;
    int64_t first_filter, last_filter;
  };

  size_t rank() const { return axes_.size(); }
  // How units are divided into pieces: each has its own filters if the weights are large and
  // positions few, and otherwise its own positions.
  struct Division {
    int64_t pieces;
    bool by_filters;
  };
  Division divide(const Job& job, int64_t most) const;
  Piece piece(const Job& job, const Division& division, int64_t index) const;
  int64_t run_count() const { return outer_runs_ * inner_runs_; }
  void pack(const std::vector<float>& kernel);
  Job job(const ConvolutionInput& in, bool with_bias, const Activation* activation, float* y) const;
  void divide_row(const Pads& pads, Job& job) const;
  // Computes all with the help of the threads of a step, with `runs` for the caller; false if it is
  // too small or they do not help.
  bool share(const StepTeam& team, const Job& job, const float** runs) const;
  void compute_unit(const Job& job, int64_t unit, const Piece& piece, Rows& rows,
                    const float** runs) const;
  void point_runs(const float* row, const float** runs) const;
  void compute_row(const Job& job, const float* const* runs, const float* ahead, const Piece& piece,
                   float* y) const;

  std::vector<Window> axes_;
  int64_t groups_;
  int64_t group_channels_;
  int64_t group_filters_;
  bool dot_;            // whether vectors hold inputs instead of filters
  int64_t depth_;       // contiguous inputs of a run
  int64_t inner_runs_;  // runs along the last axis
  int64_t outer_runs_;  // rows of inputs that an output position covers
  Block weights_;
  int64_t packed_size_ = 0;    // floats of the weights of a group
  int64_t bias_pitch_ = 0;     // floats from the biases of a group to the next one's
  std::vector<float> biases_;  // padded with zeros, then as many zeros, for no bias
};

}  // namespace sl::ops
