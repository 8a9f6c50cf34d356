// Sigmoid: y = 1 / (1 + e^-x) (reference: simple.Sigmoid).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Sigmoid, FixedFunction<kernels::Unary::kSigmoid>);

}  // namespace
}  // namespace sl
