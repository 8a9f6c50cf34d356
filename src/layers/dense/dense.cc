// Dense: y = activation(x W + b) on the last channel axis (reference: dense.Dense).
#include "layers/builder.h"
#include "layers/dense/einsum_layer.h"
#include "layers/dense/fields.h"

namespace sl {
namespace {

class Dense final : public EinsumLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : features(config.integer("features", 1)),
          use_bias(config.boolean("use_bias", true)),
          dense(config) {}
    int64_t features;
    bool use_bias;
    DenseFields dense;
  };

  Dense(Fields fields, const Init& init) : EinsumLayer(make(fields, init.weights)) {}

 private:
  static ops::Einsum make(const Fields& fields, const WeightScope& weights) {
    const Tensor kernel = weights.get("kernel", {kAnySize, fields.features});
    const Shape bias_shape = fields.use_bias ? Shape{fields.features} : Shape{};
    return ops::Einsum({"a", "ab", "b", /*leading_axes=*/true}, to_floats(kernel), kernel.shape,
                       fields.use_bias ? weights.floats("bias", bias_shape) : std::vector<float>{},
                       bias_shape, fields.dense.activation, fields.dense.param_dtype,
                       fields.dense.compute_dtype);
  }
};

SL_REGISTER_LAYER(Dense);

}  // namespace
}  // namespace sl
