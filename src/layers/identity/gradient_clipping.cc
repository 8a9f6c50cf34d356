// GradientClipping: the identity at inference (reference: simple.GradientClipping).
#include "layers/identity/identity_layer.h"

namespace sl {
namespace {

struct GradientClippingFields {
  explicit GradientClippingFields(Config& config) {
    if (!(config.number("clip_value") > 0)) config.error("clip_value", "expected more than 0");
  }
};

SL_REGISTER_LAYER_AS(GradientClipping, IdentityLayer<GradientClippingFields>);

}  // namespace
}  // namespace sl
