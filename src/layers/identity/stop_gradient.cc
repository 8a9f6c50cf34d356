// StopGradient: the identity at inference (reference: simple.StopGradient).
#include "layers/identity/identity_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(StopGradient, IdentityLayer<NoFields>);

}  // namespace
}  // namespace sl
