// Divide: y = x / divisor, a constant that is broadcast to the channels. The quotient of integers
// is a float32.
#include "layers/pointwise/broadcast_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Divide, BroadcastLayer<ops::Arithmetic::kDivide>);

}  // namespace
}  // namespace sl
