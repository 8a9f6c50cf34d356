// AveragePooling1D, 2D, 3D: the mean of each window, over all of its elements or, with
// masked_average, over its valid steps (reference: pooling.AveragePooling1D ...).
#include "layers/pooling/pooling_layer.h"

namespace sl {
namespace {

template <size_t rank>
using AveragePooling = PoolingOver<ops::Pooling::kAverage, rank>;

SL_REGISTER_LAYER_AS(AveragePooling1D, AveragePooling<1>);
SL_REGISTER_LAYER_AS(AveragePooling2D, AveragePooling<2>);
SL_REGISTER_LAYER_AS(AveragePooling3D, AveragePooling<3>);

}  // namespace
}  // namespace sl
