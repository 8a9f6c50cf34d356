// PRelu: y = x where x >= 0, otherwise negative_slope x, with a learned slope (reference:
// simple.PRelu).
#include "layers/pointwise/pointwise_function.h"

namespace sl {
namespace {

class PRelu final : public PointwiseFunction {
 public:
  struct Fields {
    explicit Fields(Config& config) { config.ignore({"negative_slope_init", "param_dtype"}); }
  };

  PRelu(Fields, const Init& init)
      : PointwiseFunction(
            {kernels::Unary::kLeakyRelu, init.weights.floats("negative_slope", {})[0]}) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    // For integers the reference would round the slope to an integer, which is not useful.
    if (!is_inexact(input.dtype)) {
      fail(Code::kShape, "expected a float or complex dtype, got {}", name_of(input.dtype));
    }
    return PointwiseFunction::do_output_spec(input, constants);
  }
};

SL_REGISTER_LAYER(PRelu);

}  // namespace
}  // namespace sl
