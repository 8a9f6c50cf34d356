// DepthwiseConv1D: y[t, c * M + j] = activation(sum_k x[t * stride + k * dilation - pad, c] W[k, 0,
// c * M + j] + b), with M the depth multiplier (reference: convolution.DepthwiseConv1D).
#include "layers/convolution/conv_layer.h"

namespace sl {
namespace {

class DepthwiseConv1D final : public ConvLayer {
 public:
  struct Fields : ConvFields {
    explicit Fields(Config& config) : ConvFields(config) {
      multiplier = config.integer("depth_multiplier", 1, 1);
      read_axes(config, 1);
      config.ignore({"array_factory"});
    }
  };
  using ConvLayer::ConvLayer;
};

SL_REGISTER_LAYER(DepthwiseConv1D);

}  // namespace
}  // namespace sl
