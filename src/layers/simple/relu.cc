// Relu: y = max(x, 0) (reference: simple.Relu).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Relu, FixedFunction<kernels::Unary::kRelu>);

}  // namespace
}  // namespace sl
