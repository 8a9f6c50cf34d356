// Tanh: the hyperbolic tangent (reference: simple.Tanh).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Tanh, FixedFunction<kernels::Unary::kTanh>);

}  // namespace
}  // namespace sl
