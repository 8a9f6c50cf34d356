// NormalizedDepthwiseConv1D: DepthwiseConv1D with a softmax over the taps of its kernel, which
// every num_heads-th channel shares (Wu et al. 2019, lightweight convolution; reference: tensorflow
// convolution.NormalizedDepthwiseConv1D).
#include <algorithm>
#include <cmath>
#include <optional>

#include "layers/convolution/conv_output.h"
#include "layers/convolution/keras_conv.h"

namespace sl {
namespace {

// Applies a softmax over the taps of the kernel [taps, filters], in place.
void normalize_taps(std::vector<float>& kernel, size_t filters) {
  for (size_t f = 0; f < filters; ++f) {
    float maximum = kernel[f];
    for (size_t i = f; i < kernel.size(); i += filters) maximum = std::max(maximum, kernel[i]);
    double sum = 0;
    for (size_t i = f; i < kernel.size(); i += filters)
      sum += std::exp(double{kernel[i] - maximum});
    for (size_t i = f; i < kernel.size(); i += filters) {
      kernel[i] = static_cast<float>(std::exp(double{kernel[i] - maximum}) / sum);
    }
  }
}

class NormalizedDepthwiseConv1D final : public KerasConv<SlidingLayer> {
 public:
  struct Fields : KerasConvFields {
    explicit Fields(Config& config) : KerasConvFields(config, {"depthwise"}) {
      multiplier = config.integer("depth_multiplier", 1, 1);
      read_time(config);
      config.note("num_heads", "integer or null", "null");
      if (config.raw("num_heads")) num_heads = config.integer("num_heads", 1);
      config.ignore({"depthwise_dropconnect_rate"});
    }
    std::optional<int64_t> num_heads;
  };

  NormalizedDepthwiseConv1D(const Fields& fields, const Init& init)
      : NormalizedDepthwiseConv1D(fields, read_weights(fields, init.weights)) {}

  std::optional<ChannelSpec> implied_input() const override {
    if (!channels_) return std::nullopt;
    return ChannelSpec{DType::kFloat32, {*channels_}};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    const int64_t heads = convolution_.channels();
    const int64_t channels = input.shape.empty() ? 0 : input.shape.back();
    if (!channels_ && channels % heads != 0) {
      fail(Code::kShape, "{} channels cannot be divided among {} heads", channels, heads);
    }
    output_.check(input, 1, channels_.value_or(channels));
    return spec_of(input);
  }

  // The kernel of `heads` channels, which every following group of `heads` channels shares.
  struct Weights {
    ops::Kernel kernel;
    int64_t heads = 0;
    TensorParts bias;
    std::optional<int64_t> channels;  // input channels; empty: any multiple of the heads
  };

  static Weights read_weights(const Fields& fields, const WeightScope& weights);

  NormalizedDepthwiseConv1D(const Fields& fields, const Weights& weights)
      : KerasConv(fields.axes),
        convolution_({fields.axes[0], ops::Window()}, weights.heads, weights.kernel, {}),
        bias_(weights.bias.real),
        channels_(weights.channels),
        output_(fields, weights.bias) {}

  ChannelSpec spec_of(const ChannelSpec& input) const override {
    const int64_t multiplier = convolution_.filters() / convolution_.channels();
    return {output_.dtype(input.dtype), {input.shape.back() * multiplier}};
  }

  void compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const override {
    // View the channels of a frame as [channels / heads, heads].
    ops::ConvolutionInput heads = in;
    heads.sizes[1] = y.frame_size() / convolution_.filters();
    output_.write(run, y, [&](bool with_bias, float* out) {
      convolution_.convolve(heads, false, run.parallel(), out);
      if (!with_bias || bias_.empty()) return;
      run.parallel().each(y.steps(), [&](int64_t i) {
        float* row = out + i * y.frame_size();
        kernels::binary(kernels::Binary::kAdd, row, bias_.data(), row, y.frame_size());
      });
    });
  }

  ops::Convolution convolution_;
  std::vector<float> bias_;
  std::optional<int64_t> channels_;
  ConvOutput output_;
};

NormalizedDepthwiseConv1D::Weights NormalizedDepthwiseConv1D::read_weights(
    const Fields& fields, const WeightScope& weights) {
  const int64_t taps = fields.axes[0].kernel;
  Weights out;
  out.kernel = weights
                   .kernel("depthwise_kernel",
                           {1, taps, fields.num_heads.value_or(kAnySize), fields.multiplier},
                           DType::kFloat32)
                   .real;
  const int64_t heads = out.kernel.shape[2], filters = heads * fields.multiplier;
  out.kernel.shape = {taps, 1, 1, filters};
  out.kernel.values = [given = out.kernel.values, filters] {
    std::vector<float> values = given();
    normalize_taps(values, static_cast<size_t>(filters));
    return values;
  };
  out.heads = heads;
  if (!fields.num_heads) out.channels = heads;
  if (!fields.use_bias) return out;
  out.bias = weights.parts("bias", {fields.num_heads ? kAnySize : filters}, DType::kFloat32);
  const auto outputs = static_cast<int64_t>(out.bias.real.size());
  if (fields.num_heads && outputs % filters != 0) {
    fail(Code::kWeights,
         "the bias has {} values: expected a multiple of num_heads * depth_multiplier = {}",
         outputs, filters);
  }
  out.channels = outputs / fields.multiplier;
  return out;
}

SL_REGISTER_LAYER(NormalizedDepthwiseConv1D);

}  // namespace
}  // namespace sl
