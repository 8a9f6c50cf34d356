// DepthwiseConv2D: DepthwiseConv1D with one spatial dimension beside time, [width, channels] per
// step (reference: tensorflow convolution.DepthwiseConv2D).
#include "layers/convolution/conv_layer.h"
#include "layers/convolution/keras_conv.h"

namespace sl {
namespace {

class DepthwiseConv2D final : public KerasConv<ConvLayer> {
 public:
  struct Fields : KerasConvFields {
    explicit Fields(Config& config) : KerasConvFields(config, {"depthwise"}) {
      multiplier = config.integer("depth_multiplier", 1);
      read_time_and_space(config);
    }
  };

  DepthwiseConv2D(const Fields& fields, const Init& init)
      : KerasConv(fields, read_weights(fields, init.weights)) {}

 private:
  static ConvWeights read_weights(const Fields& fields, const WeightScope& weights) {
    const int64_t height = fields.axes[0].kernel, width = fields.axes[1].kernel;
    ConvWeights out;
    out.kernel = weights.kernel("depthwise_kernel", {height, width, kAnySize, fields.multiplier},
                                DType::kFloat32);
    Shape& shape = out.kernel.real.shape;
    const int64_t channels = shape[2], filters = channels * fields.multiplier;
    shape = {height, width, 1, filters};
    out.groups = channels;
    out.bias = read_keras_bias(fields, weights, filters);
    return out;
  }
};

SL_REGISTER_LAYER(DepthwiseConv2D);

}  // namespace
}  // namespace sl
