// Dropout: the identity at inference (reference: simple.Dropout).
#include "layers/identity/identity_layer.h"

namespace sl {
namespace {

struct DropoutFields {
  explicit DropoutFields(Config& config) {
    const double rate = config.number("rate", 0);
    if (!(rate >= 0 && rate <= 1)) config.error("rate", "expected a number from 0 to 1");
    config.ignore({"broadcast_dims", "rng_collection"});
  }
};

SL_REGISTER_LAYER_AS(Dropout, IdentityLayer<DropoutFields>);

}  // namespace
}  // namespace sl
