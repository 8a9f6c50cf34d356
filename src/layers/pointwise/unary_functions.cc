// Registers the layers y = f(x) for each function f that kernels/unary_functions.inc marks as a
// layer, such as Abs, Exp, Log and Tanh (reference: simple.<Name>).
#include "layers/pointwise/pointwise_function.h"

namespace sl {
namespace {

#define SL_REGISTER_Layer(Name) SL_REGISTER_LAYER_AS(Name, UnaryLayer<kernels::Unary::k##Name>);
#define SL_REGISTER_NoLayer(Name)
#define SL_UNARY(Name, function, layer, ...) SL_REGISTER_##layer(Name)
#include "kernels/unary_functions.inc"

}  // namespace
}  // namespace sl
