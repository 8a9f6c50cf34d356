// Sum: the sum over channel axes (reference: simple.Sum).
#include "layers/reduction/reduce_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Sum, ReduceLayer<ops::Reduction::kSum>);

}  // namespace
}  // namespace sl
