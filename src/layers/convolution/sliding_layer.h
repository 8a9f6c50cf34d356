// Base of layers whose windows slide over time and up to two spatial dimensions. It handles masks,
// padding and history; derived classes compute on the windows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ring.h"
#include "layers/early_windows.h"
#include "layers/layer.h"
#include "ops/convolution.h"
#include "ops/padded_frames.h"
#include "ops/window.h"

namespace sl {

class SlidingLayer : public Layer {
 public:
  int64_t block_size() const final { return time().stride; }
  Ratio output_ratio() const final { return Ratio(1, time().stride); }
  bool supports_step() const override { return time().supports_step(); }
  std::string step_obstacle() const override {
    return time().step_obstacle(axes_.size() > 1 ? "time_padding" : "padding");
  }
  int64_t input_latency() const override { return time().input_latency(); }
  int64_t output_latency() const override { return time().output_latency(); }
  ReceptiveFields receptive_field_per_step() const final { return time().receptive_field(); }

 protected:
  explicit SlidingLayer(std::vector<ops::Window> axes);

  const std::vector<ops::Window>& axes() const { return axes_; }
  // The output spec for an input that output_spec has checked.
  virtual ChannelSpec spec_of(const ChannelSpec& input) const = 0;
  // Computes the values of y from frames with all of their padding.
  virtual void compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const = 0;
  // Whether compute takes frames without their padding in layer-wise runs, and pads them itself.
  virtual bool pads_frames() const { return false; }
  // Like compute, for layers with complex y: the inputs are the real parts and, if the input is
  // complex, the imaginary parts.
  virtual void compute_complex(Run&, std::span<const ops::ConvolutionInput>,
                               const Sequence&) const {}
  // Whether the weights are so large that a step reads them once for all batch items.
  virtual bool has_large_weights() const { return false; }
  bool takes_pieces_of(const ChannelSpec& x) const final {
    return x.dtype == DType::kFloat32 && spec_of(x).dtype == DType::kFloat32;
  }

  StepDifference step_difference(const EarlySteps& before) const final {
    const StepDifference difference = window_difference(time(), before);
    return difference.reason.empty() ? Layer::step_difference(before) : difference;
  }
  std::string early_steps_cure(const EarlySteps& before) const final {
    return window_cure(time(), before);
  }

  // The output shape: the spatial dimensions after the windows, then `filters`.
  Shape output_shape(const Shape& input, int64_t filters) const;

 private:
  int64_t do_output_length(int64_t length, const ChannelSpec&, const Constants&) const final {
    return time().output_length(length);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final;
  Sequence do_layer(Run& run, const Sequence& x) const final;
  // For layers that pad frames themselves.
  Sequence do_piece(Run& run, const Sequence& x, int64_t b, int64_t begin, int64_t end) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;

  const ops::Window& time() const { return axes_[0]; }
  ops::FrameLayout layout_of(const Shape& channels) const { return {channels, spatial_pads()}; }
  RingSpec ring_of(const ops::FrameLayout& layout) const;
  std::span<const ops::Pads> spatial_pads() const { return std::span(pads_).subspan(1); }
  void compute_any(Run& run, const ops::FrameParts& in, const Sequence& y) const;

  std::vector<ops::Window> axes_;  // time first
  std::vector<ops::Pads> pads_;    // of each axis
};

}  // namespace sl
