// Abs: y = |x|; the magnitude of complex numbers is float32 (reference: simple.Abs).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Abs, FixedFunction<kernels::Unary::kAbs>);

}  // namespace
}  // namespace sl
