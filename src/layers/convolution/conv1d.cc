// Conv1D: y[t] = activation(sum_k x[t * stride + k * dilation - pad] W[k] + b) (reference:
// convolution.Conv1D).
#include "layers/convolution/conv_layer.h"

namespace sl {
namespace {

class Conv1D final : public ConvLayer {
 public:
  struct Fields : ConvFields {
    explicit Fields(Config& config) : ConvFields(config) {
      read_filters(config);
      read_axes(config, 1);
    }
  };
  using ConvLayer::ConvLayer;
};

SL_REGISTER_LAYER(Conv1D);

}  // namespace
}  // namespace sl
