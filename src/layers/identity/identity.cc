// Identity: y = x (reference: simple.Identity).
#include "layers/identity/identity_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Identity, IdentityLayer<NoFields>);

}  // namespace
}  // namespace sl
