// Softplus: y = log(1 + e^x) (reference: simple.Softplus).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Softplus, FixedFunction<kernels::Unary::kSoftplus>);

}  // namespace
}  // namespace sl
