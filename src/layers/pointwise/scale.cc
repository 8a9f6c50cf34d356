// Scale: y = scale x, a constant that is broadcast to the channels (reference: simple.Scale).
#include "layers/pointwise/broadcast_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Scale, BroadcastLayer<ops::Arithmetic::kMultiply>);

}  // namespace
}  // namespace sl
