// Gelu: y = x P(N(0, 1) < x), by default with the tanh approximation (reference: simple.Gelu).
#include "layers/pointwise/pointwise_function.h"

namespace sl {
namespace {

using kernels::Unary;

class Gelu final : public PointwiseFunction {
 public:
  struct Fields {
    explicit Fields(Config& config) : approximate(config.boolean("approximate", true)) {}
    bool approximate;
  };

  Gelu(Fields fields, const Init&)
      : PointwiseFunction({fields.approximate ? Unary::kGeluTanh : Unary::kGeluErf, 0}) {}
};

SL_REGISTER_LAYER(Gelu);

}  // namespace
}  // namespace sl
