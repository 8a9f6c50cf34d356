// Mod: y = x mod divisor, with the sign of the divisor, which is broadcast to the channels
// (reference: simple.Mod).
#include "layers/pointwise/broadcast_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Mod, BroadcastLayer<ops::Arithmetic::kMod>);

}  // namespace
}  // namespace sl
