// Base of separable convolutions: a depthwise convolution, then a product over channels with
// bias and activation.
#pragma once

#include <optional>

#include "layers/convolution/conv_output.h"
#include "layers/convolution/keras_conv.h"
#include "ops/convolution.h"
#include "ops/linear.h"

namespace sl {

struct SeparableFields : KerasConvFields {
  explicit SeparableFields(Config& config) : KerasConvFields(config, {"depthwise", "pointwise"}) {
    filters = config.integer("filters", 1);
  }
};

class SeparableLayer : public KerasConv<SlidingLayer> {
 public:
  SeparableLayer(const SeparableFields& fields, const Init& init)
      : SeparableLayer(fields, read_weights(fields, init.weights)) {}

  std::optional<ChannelSpec> implied_input() const final;

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const final;

  struct Weights {
    ops::Kernel depthwise;
    int64_t channels = 0;
    ops::Linear pointwise;
    TensorParts bias;
  };

  SeparableLayer(const SeparableFields& fields, Weights weights);
  static Weights read_weights(const SeparableFields& fields, const WeightScope& weights);
  ChannelSpec spec_of(const ChannelSpec& input) const final;
  void compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const final;
  bool has_large_weights() const final { return true; }

  ops::Convolution depthwise_;
  ops::Linear pointwise_;
  std::vector<float> bias_;
  ConvOutput output_;
};

}  // namespace sl
