// SeparableConv2D: SeparableConv1D with one spatial dimension beside time, [width, channels] per
// step (reference: tensorflow convolution.SeparableConv2D).
#include "layers/convolution/separable_layer.h"

namespace sl {
namespace {

class SeparableConv2D final : public SeparableLayer {
 public:
  struct Fields : SeparableFields {
    explicit Fields(Config& config) : SeparableFields(config) {
      multiplier = config.integer("depth_multiplier", 1);
      read_time_and_space(config);
    }
  };
  using SeparableLayer::SeparableLayer;
};

SL_REGISTER_LAYER(SeparableConv2D);

}  // namespace
}  // namespace sl
