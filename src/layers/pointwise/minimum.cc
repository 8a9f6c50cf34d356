// Minimum: y = min(x, minimum), a constant that is broadcast to the channels (reference:
// simple.Minimum).
#include "layers/pointwise/broadcast_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Minimum, BroadcastLayer<ops::Arithmetic::kMinimum>);

}  // namespace
}  // namespace sl
