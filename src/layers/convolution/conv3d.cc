// Conv3D: Conv1D with two spatial dimensions beside time, [height, width, channels] per step
// (reference: convolution.Conv3D).
#include "layers/convolution/conv_layer.h"

namespace sl {
namespace {

class Conv3D final : public ConvLayer {
 public:
  struct Fields : ConvFields {
    explicit Fields(Config& config) : ConvFields(config) {
      read_filters(config);
      read_axes(config, 3);
    }
  };
  using ConvLayer::ConvLayer;
};

SL_REGISTER_LAYER(Conv3D);

}  // namespace
}  // namespace sl
