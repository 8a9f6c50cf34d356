// Add: y = x + shift, a constant that is broadcast to the channels (reference: simple.Add).
#include "layers/pointwise/broadcast_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Add, BroadcastLayer<ops::Arithmetic::kAdd>);

}  // namespace
}  // namespace sl
