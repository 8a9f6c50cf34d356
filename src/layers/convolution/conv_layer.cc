#include "layers/convolution/conv_layer.h"

namespace sl {

ConvLayer::ConvLayer(const ConvFields& fields, const ConvWeights& weights)
    : SlidingLayer(fields.axes),
      convolution_(make(fields, weights, weights.kernel.real, weights.bias.real)),
      output_(fields, weights.bias) {
  if (weights.kernel.imaginary)
    imaginary_.emplace(make(fields, weights, *weights.kernel.imaginary, {}));
}

ConvLayer::Convolution ConvLayer::make(const ConvFields& fields, const ConvWeights& weights,
                                       const ops::Kernel& kernel, const std::vector<float>& bias) {
  if (kernel.format == WeightFormat::kFloat32 &&
      ops::DirectConvolution::suits(fields.axes, weights.groups, kernel.shape)) {
    return ops::DirectConvolution(fields.axes, weights.groups, kernel.shape, kernel.values(), bias);
  }
  return ops::Convolution(fields.axes, weights.groups, kernel, bias);
}

int64_t ConvLayer::channels() const {
  return std::visit([](const auto& c) { return c.channels(); }, convolution_);
}

int64_t ConvLayer::filters() const {
  return std::visit([](const auto& c) { return c.filters(); }, convolution_);
}

bool ConvLayer::pads_frames() const {
  const auto* direct = std::get_if<ops::DirectConvolution>(&convolution_);
  return direct && direct->pads();
}

InPieces ConvLayer::in_pieces() const {
  const auto* direct = std::get_if<ops::DirectConvolution>(&convolution_);
  const bool suits = direct && direct->pads() && !direct->takes_whole_rows();
  return suits ? InPieces::kFirst : InPieces::kNo;
}

// A direct convolution uses its weights at many positions of one item.
bool ConvLayer::has_large_weights() const {
  const auto* packed = std::get_if<ops::Convolution>(&convolution_);
  return packed && !packed->is_depthwise();
}

bool ConvLayer::take(const Epilogue& epilogue) {
  if (!output_.takes_more()) return false;
  if (const auto* activation = std::get_if<Activation>(&epilogue)) {
    output_.activate_by(*activation);
    return true;
  }
  const auto& affine = std::get<ops::AxisAffine>(epilogue);
  if (std::ssize(affine.scale) != filters()) return false;
  return std::visit(
      [&](auto& convolution) {
        if (!convolution.rescale(affine.scale)) return output_.transform_by(affine);
        convolution.set_bias(output_.transform_bias(affine));
        return true;
      },
      convolution_);
}

ChannelSpec ConvLayer::spec_of(const ChannelSpec& input) const {
  return {output_.dtype(input.dtype), output_shape(input.shape, filters())};
}

ChannelSpec ConvLayer::do_output_spec(const ChannelSpec& input, const Constants&) const {
  output_.check(input, axes().size(), channels(), true);
  return spec_of(input);
}

std::optional<ChannelSpec> ConvLayer::implied_input() const {
  if (axes().size() > 1) return std::nullopt;
  return ChannelSpec{DType::kFloat32, {channels()}};
}

void ConvLayer::convolve(Run& run, const Convolution& convolution, const ops::ConvolutionInput& in,
                         bool with_bias, float* y) {
  if (const auto* direct = std::get_if<ops::DirectConvolution>(&convolution)) {
    direct->convolve(run, in, with_bias, nullptr, y);
  } else {
    const auto& packed = std::get<ops::Convolution>(convolution);
    packed.convolve(ops::packed_input(run, packed, in), with_bias, run.parallel(), y);
  }
}

void ConvLayer::compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const {
  const auto* direct = std::get_if<ops::DirectConvolution>(&convolution_);
  if (direct) {
    output_.write_activated(run, y, [&](bool with_bias, const Activation* activation, float* out) {
      direct->convolve(run, in, with_bias, activation, out);
    });
    return;
  }
  output_.write(
      run, y, [&](bool with_bias, float* out) { convolve(run, convolution_, in, with_bias, out); });
}

void ConvLayer::compute_complex(Run& run, std::span<const ops::ConvolutionInput> parts,
                                const Sequence& y) const {
  output_.write_complex(
      run, y, parts.size(), imaginary_.has_value(), [&](size_t part, bool imaginary, float* rows) {
        convolve(run, imaginary ? *imaginary_ : convolution_, parts[part], false, rows);
      });
}

}  // namespace sl
