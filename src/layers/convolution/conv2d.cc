// Conv2D: Conv1D with one spatial dimension beside time, [width, channels] per step (reference:
// convolution.Conv2D).
#include "layers/convolution/conv_layer.h"

namespace sl {
namespace {

class Conv2D final : public ConvLayer {
 public:
  struct Fields : ConvFields {
    explicit Fields(Config& config) : ConvFields(config) {
      read_filters(config);
      read_axes(config, 2);
      config.ignore({"array_factory"});
    }
  };
  using ConvLayer::ConvLayer;
};

SL_REGISTER_LAYER(Conv2D);

}  // namespace
}  // namespace sl
