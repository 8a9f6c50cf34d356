// Swish: y = x sigmoid(x) (reference: simple.Swish).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Swish, FixedFunction<kernels::Unary::kSwish>);

}  // namespace
}  // namespace sl
