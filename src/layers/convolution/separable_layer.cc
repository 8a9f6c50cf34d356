#include "layers/convolution/separable_layer.h"

#include <utility>

namespace sl {

SeparableLayer::Weights SeparableLayer::read_weights(const SeparableFields& fields,
                                                     const WeightScope& weights) {
  Shape depthwise, pointwise, kernel;
  for (const ops::Window& axis : fields.axes) {
    depthwise.push_back(axis.kernel);
    pointwise.push_back(1);
    kernel.push_back(axis.kernel);
  }
  depthwise.push_back(kAnySize);
  depthwise.push_back(fields.multiplier);
  ops::Kernel taps = weights.kernel("depthwise_kernel", depthwise, DType::kFloat32).real;
  const int64_t channels = taps.shape[taps.shape.rank() - 2];
  const int64_t inner = channels * fields.multiplier;
  kernel.push_back(1);
  kernel.push_back(inner);
  taps.shape = kernel;
  pointwise.push_back(inner);
  pointwise.push_back(fields.filters);
  ops::Linear product =
      weights.matrix("pointwise_kernel", pointwise, {.input_axes = pointwise.rank() - 1});
  return {std::move(taps), channels, std::move(product),
          read_keras_bias(fields, weights, fields.filters)};
}

SeparableLayer::SeparableLayer(const SeparableFields& fields, Weights weights)
    : KerasConv(fields.axes),
      depthwise_(fields.axes, weights.channels, weights.depthwise, {}),
      pointwise_(std::move(weights.pointwise)),
      bias_(weights.bias.real),
      output_(fields, weights.bias) {}

ChannelSpec SeparableLayer::spec_of(const ChannelSpec& input) const {
  return {output_.dtype(input.dtype), output_shape(input.shape, pointwise_.outputs())};
}

ChannelSpec SeparableLayer::do_output_spec(const ChannelSpec& input, const Constants&) const {
  output_.check(input, axes().size(), depthwise_.channels());
  return spec_of(input);
}

std::optional<ChannelSpec> SeparableLayer::implied_input() const {
  if (axes().size() > 1) return std::nullopt;
  return ChannelSpec{DType::kFloat32, {depthwise_.channels()}};
}

void SeparableLayer::compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const {
  const int64_t inner = depthwise_.filters(), filters = pointwise_.outputs();
  const int64_t rows = y.size() / filters;
  auto* between = run.scratch<float>(rows, inner);
  depthwise_.convolve(in, false, run.parallel(), between);
  output_.write(run, y, [&](bool with_bias, float* out) {
    const float* bias = with_bias && !bias_.empty() ? bias_.data() : nullptr;
    pointwise_.apply(run, between, inner, rows, bias, false, out, filters);
  });
}

}  // namespace sl
