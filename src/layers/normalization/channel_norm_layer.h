// Base of layers that normalize the channels of each step separately.
#pragma once

#include <utility>

#include "layers/builder.h"
#include "layers/normalization/axes.h"
#include "ops/normalize.h"

namespace sl {

struct ChannelNormFields {
  ChannelNormFields(Config& config, ops::Norm norm, double default_epsilon)
      : axes(NormAxes::read(config)) {
    rule.norm = norm;
    rule.epsilon = config.number("epsilon", default_epsilon);
  }
  // Reads the fields of layers with parameters.
  void read_parameters(Config& config) {
    rule.in_float32 = config.boolean("reductions_in_at_least_fp32", true);
    use_scale = config.boolean("use_scale", true);
    guards = config.boolean("guard_against_excess_precision", false);
    read_float_dtype(config, "param_dtype");
    config.ignore({"scale_init", "sharding"});
  }
  NormAxes axes;
  ops::ChannelNorm rule;
  bool use_scale = false;
  bool use_bias = false;
  bool guards = false;
};

class ChannelNormLayer : public PointwiseLayer {
 public:
  std::optional<ChannelSpec> implied_input() const override {
    const auto& parameter = parameters_.scale ? parameters_.scale : parameters_.bias;
    return parameter ? fields_.axes.implied_input(parameter->shape()) : std::nullopt;
  }

 protected:
  ChannelNormLayer(ChannelNormFields fields, const WeightScope& weights)
      : fields_(std::move(fields)) {
    if (fields_.use_scale) parameters_.scale.emplace(fields_.axes.parameter(weights, "scale"));
    if (fields_.use_bias) parameters_.bias.emplace(fields_.axes.parameter(weights, "bias"));
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    check_dtype(input.dtype);
    const uint32_t bits = fields_.axes.bits(input.shape);
    if (parameters_.scale) {
      NormAxes::check("scale", parameters_.scale->shape(), input.shape, bits);
    }
    if (parameters_.bias) {
      NormAxes::check("bias", parameters_.bias->shape(), input.shape, bits);
    }
    return ChannelSpec{ops::normalized_dtype(fields_.rule, input.dtype), input.shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::normalize_channels(run, x, fields_.axes.bits(x.channels), fields_.rule,
                                   parameters_);
  }

  void check_dtype(DType dtype) const {
    if (fields_.guards && !is_float(dtype)) {
      fail(Code::kShape, "guard_against_excess_precision takes floats, got {}", name_of(dtype));
    }
  }

  ChannelNormFields fields_;
  ops::NormParameters parameters_;
};

}  // namespace sl
