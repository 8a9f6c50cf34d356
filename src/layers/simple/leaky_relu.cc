// LeakyRelu: y = x where x >= 0, else negative_slope x (reference: simple.LeakyRelu).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

class LeakyRelu final : public PointwiseFunction {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : negative_slope(static_cast<float>(config.number("negative_slope", 0.01))) {}
    float negative_slope;
  };

  LeakyRelu(Fields fields, const Init&)
      : PointwiseFunction({kernels::Unary::kLeakyRelu, fields.negative_slope}) {}
};

SL_REGISTER_LAYER(LeakyRelu);

}  // namespace
}  // namespace sl
