// MinPooling1D, 2D, 3D: the minimum of each window (reference: pooling.MinPooling1D ...).
#include "layers/pooling/pooling_layer.h"

namespace sl {
namespace {

template <size_t rank>
using MinPooling = PoolingOver<ops::Pooling::kMin, rank>;

SL_REGISTER_LAYER_AS(MinPooling1D, MinPooling<1>);
SL_REGISTER_LAYER_AS(MinPooling2D, MinPooling<2>);
SL_REGISTER_LAYER_AS(MinPooling3D, MinPooling<3>);

}  // namespace
}  // namespace sl
