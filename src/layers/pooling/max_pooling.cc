// MaxPooling1D, 2D, 3D: the maximum of each window (reference: pooling.MaxPooling1D ...).
#include "layers/pooling/pooling_layer.h"

namespace sl {
namespace {

template <size_t rank>
using MaxPooling = PoolingOver<ops::Pooling::kMax, rank>;

SL_REGISTER_LAYER_AS(MaxPooling1D, MaxPooling<1>);
SL_REGISTER_LAYER_AS(MaxPooling2D, MaxPooling<2>);
SL_REGISTER_LAYER_AS(MaxPooling3D, MaxPooling<3>);

}  // namespace
}  // namespace sl
