// Min: the minimum over channel axes (reference: simple.Min).
#include "layers/reduction/reduce_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Min, ReduceLayer<ops::Reduction::kMin>);

}  // namespace
}  // namespace sl
