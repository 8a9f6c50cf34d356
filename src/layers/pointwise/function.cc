// Function: y = f(x) for an elementwise function f that configs name.
#include "layers/pointwise/pointwise_function.h"

namespace sl {
namespace {

class Function final : public PointwiseFunction {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      config.note("function", "function", "");
      if (!config.has("function")) config.error("function", "expected the name of a function");
      activation = read_activation(config, "function").value_or(Activation{});
      if (!activation.is_elementwise())
        config.error("function", "expected an elementwise function: a \"Softmax\" is a layer");
    }
    Activation activation;
  };
  Function(Fields fields, const Init&) : PointwiseFunction(fields.activation) {}
};

SL_REGISTER_LAYER(Function);

}  // namespace
}  // namespace sl
