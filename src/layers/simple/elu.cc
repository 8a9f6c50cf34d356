// Elu: y = x where x > 0, else alpha (e^x - 1) (reference: simple.Elu).
#include "layers/simple/pointwise_function.h"

namespace sl {
namespace {

class Elu final : public PointwiseFunction {
 public:
  struct Fields {
    explicit Fields(Config& config) : alpha(static_cast<float>(config.number("alpha", 1))) {}
    float alpha;
  };

  Elu(Fields fields, const Init&) : PointwiseFunction({kernels::Unary::kElu, fields.alpha}) {}
};

SL_REGISTER_LAYER(Elu);

}  // namespace
}  // namespace sl
