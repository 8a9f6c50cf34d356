// Maximum: y = max(x, maximum), a constant that is broadcast to the channels (reference:
// simple.Maximum).
#include "layers/pointwise/broadcast_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Maximum, BroadcastLayer<ops::Arithmetic::kMaximum>);

}  // namespace
}  // namespace sl
