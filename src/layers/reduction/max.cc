// Max: the maximum over channel axes (reference: simple.Max).
#include "layers/reduction/reduce_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Max, ReduceLayer<ops::Reduction::kMax>);

}  // namespace
}  // namespace sl
