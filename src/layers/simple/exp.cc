// Exp: y = e^x (reference: simple.Exp).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Exp, FixedFunction<kernels::Unary::kExp>);

}  // namespace
}  // namespace sl
