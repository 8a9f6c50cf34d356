// InstanceNormalization: normalizes to mean 0 and variance 1 over all valid steps and the channel
// axes that are not given, then scale (gamma) and bias (beta) (reference: tensorflow
// normalization.InstanceNormalization).
#include "layers/builder.h"
#include "layers/normalization/axes.h"
#include "ops/normalize.h"

namespace sl {
namespace {

class InstanceNormalization final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : axes(NormAxes::read(config)),
          epsilon(config.number("epsilon", 0.001)),
          center(config.boolean("center", true)),
          scale(config.boolean("scale", true)) {
      if (axes.size() == 0) config.error("axis", "expected at least one axis");
      config.ignore({"beta_initializer", "gamma_initializer", "beta_regularizer",
                     "gamma_regularizer", "beta_constraint", "gamma_constraint", "trainable"});
    }
    NormAxes axes;
    double epsilon;
    bool center;
    bool scale;
  };

  InstanceNormalization(Fields fields, const Init& init) : fields_(std::move(fields)) {
    if (fields_.scale) parameters_.scale.emplace(parameter(init.weights, "gamma"));
    if (fields_.center) parameters_.bias.emplace(parameter(init.weights, "beta"));
  }

  bool supports_step() const override { return false; }
  std::string step_obstacle() const override {
    return "it needs statistics of all steps: use GroupNormalization with \"cumulative\": "
           "true, or "
           "LayerNormalization";
  }
  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{-kInfinite, kInfinite}};
  }
  std::optional<ChannelSpec> implied_input() const override {
    const auto& parameter = parameters_.scale ? parameters_.scale : parameters_.bias;
    if (!parameter || fields_.axes.size() > 1) return std::nullopt;
    return fields_.axes.implied_input(parameter->shape());
  }

 private:
  // Half-precision inputs give float32, because Keras casts them before it computes.
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (!is_float(input.dtype)) {
      fail(Code::kShape, "expected floats, got {}", name_of(input.dtype));
    }
    if (fields_.axes.has_duplicates(input.shape)) fail(Code::kShape, "an axis is given twice");
    const Shape expected = parameter_shape(input.shape, /*with_batch=*/true);
    if (parameters_.scale) check("gamma", parameters_.scale->shape(), input.shape, expected);
    if (parameters_.bias) check("beta", parameters_.bias->shape(), input.shape, expected);
    return ChannelSpec{DType::kFloat32, input.shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::normalize_over_time(run, x, DType::kFloat32,
                                    {x.channels, fields_.axes.bits(x.channels)}, fields_.epsilon,
                                    parameters_, parameter_shape(x.channels, false));
  }

  // Reads a parameter. With one axis it is a vector; with several it has the full rank, with size 1
  // on the other axes.
  Tensor parameter(const WeightScope& weights, const char* name) const {
    if (fields_.axes.size() == 1) return weights.get(name, {kAnySize});
    const Tensor tensor = weights.get_any(name);
    if (!is_float(tensor.dtype)) {
      fail(Code::kWeights, "tensor \"{}\" is {}: expected floats", name, name_of(tensor.dtype));
    }
    return tensor;
  }
  // The shape of a parameter. With several axes and `with_batch` it includes batch and time, of
  // size 1.
  Shape parameter_shape(const Shape& channels, bool with_batch) const {
    const uint32_t bits = fields_.axes.bits(channels);
    if (with_batch && fields_.axes.size() == 1) return {channels[fields_.axes.index(channels)]};
    Shape shape;
    if (with_batch) shape = {1, 1};
    for (int i = 0; i < channels.rank(); ++i) shape.push_back(bits >> i & 1u ? channels[i] : 1);
    return shape;
  }
  static void check(const char* name, const Shape& shape, const Shape& channels,
                    const Shape& expected) {
    if (shape == expected) return;
    fail(Code::kShape, "{} is {}: channels {} need {}", name, to_string(shape), to_string(channels),
         to_string(expected));
  }

  Fields fields_;
  ops::NormParameters parameters_;
};

SL_REGISTER_LAYER(InstanceNormalization);

}  // namespace
}  // namespace sl
