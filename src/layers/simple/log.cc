// Log: the natural logarithm (reference: simple.Log).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

SL_REGISTER_LAYER_AS(Log, FixedFunction<kernels::Unary::kLog>);

}  // namespace
}  // namespace sl
