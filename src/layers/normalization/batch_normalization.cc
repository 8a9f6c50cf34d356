// BatchNormalization: y = scale (x - mean) / sqrt(variance + epsilon) + bias for each channel, with
// the mean and variance recorded in training (reference: normalization.BatchNormalization).
#include <cmath>
#include <nlohmann/json.hpp>

#include "layers/builder.h"
#include "layers/epilogue.h"
#include "layers/normalization/axes.h"
#include "ops/normalize.h"

namespace sl {
namespace {

class BatchNormalization final : public PointwiseLayer, public HasEpilogue {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : axis(NormAxes::read_one(config)),
          epsilon(config.number("epsilon", 0.001)),
          use_bias(config.boolean("use_bias", true)),
          use_scale(config.boolean("use_scale", true)),
          guards(config.boolean("guard_against_excess_precision", false)) {
      read_float_dtype(config, "param_dtype");
      const Json* name = config.raw("name");
      inner = name && !name->is_null() ? config.string("name") : "BatchNorm_0";
      config.ignore({"momentum", "bias_init", "scale_init", "sharding", "use_fast_variance"});
    }
    NormAxes axis;
    double epsilon;
    bool use_bias;
    bool use_scale;
    bool guards;
    std::string inner;  // name of the inner Flax layer, which holds the weights
  };

  BatchNormalization(Fields fields, const Init& init) : axis_(fields.axis), guards_(fields.guards) {
    const WeightScope weights = init.weights.child(fields.inner);
    affine_.shift = weights.floats("mean", {kAnySize}, "batch_stats");
    channels_ = static_cast<int64_t>(affine_.shift.size());
    affine_.scale = weights.floats("var", {channels_}, "batch_stats");
    for (float& v : affine_.scale) v = 1.0f / std::sqrt(v + static_cast<float>(fields.epsilon));
    if (fields.use_scale) {
      const std::vector<float> scale = weights.floats("scale", {channels_});
      for (size_t i = 0; i < scale.size(); ++i) affine_.scale[i] *= scale[i];
    }
    if (fields.use_bias) affine_.bias = weights.floats("bias", {channels_});
    affine_.bias.resize(affine_.shift.size());
  }

  std::optional<ChannelSpec> implied_input() const override {
    return axis_.implied_input({channels_});
  }
  InPieces in_pieces() const override { return InPieces::kAnywhere; }
  std::optional<Epilogue> epilogue() const override {
    if (guards_ || !axis_.is_last()) return std::nullopt;
    return affine_;
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (guards_ ? !is_float(input.dtype) : !is_inexact(input.dtype)) {
      fail(Code::kShape, "expected floats, got {}", name_of(input.dtype));
    }
    NormAxes::check("mean", {channels_}, input.shape, axis_.bits(input.shape));
    return input;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::shift_and_scale(run, x, axis_.index(x.channels), affine_);
  }

  NormAxes axis_;
  bool guards_;
  int64_t channels_;
  ops::AxisAffine affine_;
};

SL_REGISTER_LAYER(BatchNormalization);

}  // namespace
}  // namespace sl
