// Mean: the mean over channel axes (reference: simple.Mean).
#include "layers/reduction/reduce_layer.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Mean, ReduceLayer<ops::Reduction::kMean>);

}  // namespace
}  // namespace sl
