// SeparableConv1D: a depthwise convolution over time, then a product over channels (reference:
// tensorflow convolution.SeparableConv1D).
#include "layers/convolution/separable_layer.h"

namespace sl {
namespace {

class SeparableConv1D final : public SeparableLayer {
 public:
  struct Fields : SeparableFields {
    explicit Fields(Config& config) : SeparableFields(config) {
      multiplier = config.integer("depth_multiplier", 1, 1);
      read_time(config);
    }
  };
  using SeparableLayer::SeparableLayer;
};

SL_REGISTER_LAYER(SeparableConv1D);

}  // namespace
}  // namespace sl
