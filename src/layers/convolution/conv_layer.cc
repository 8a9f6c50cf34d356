#include "layers/convolution/conv_layer.h"

namespace sl {

ConvLayer::ConvLayer(const ConvFields& fields, const ConvWeights& weights)
    : SlidingLayer(fields.axes),
      convolution_(fields.axes, weights.groups, weights.kernel.shape, weights.kernel.real,
                   weights.bias.real),
      output_(fields, weights.bias) {
  if (weights.kernel.imaginary.empty()) return;
  imaginary_.emplace(fields.axes, weights.groups, weights.kernel.shape, weights.kernel.imaginary,
                     std::vector<float>());
}

ChannelSpec ConvLayer::spec_of(const ChannelSpec& input) const {
  return {output_.dtype(input.dtype), output_shape(input.shape, convolution_.filters())};
}

ChannelSpec ConvLayer::do_output_spec(const ChannelSpec& input, const Constants&) const {
  output_.check(input, axes().size(), convolution_.channels(), true);
  return spec_of(input);
}

std::optional<ChannelSpec> ConvLayer::implied_input() const {
  if (axes().size() > 1) return std::nullopt;
  return ChannelSpec{DType::kFloat32, {convolution_.channels()}};
}

void ConvLayer::compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const {
  output_.write(run, y, [&](bool with_bias, float* rows) {
    convolution_.convolve(in, with_bias, run.parallel(), rows);
  });
}

void ConvLayer::compute_complex(Run& run, std::span<const ops::ConvolutionInput> parts,
                                const Sequence& y) const {
  output_.write_complex(
      run, y, parts.size(), imaginary_.has_value(), [&](size_t part, bool imaginary, float* rows) {
        (imaginary ? *imaginary_ : convolution_).convolve(parts[part], false, run.parallel(), rows);
      });
}

}  // namespace sl
