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
    const DType dtype = fields.dense.param_dtype;
    const ops::KernelParts kernel = weights.kernel("kernel", {kAnySize, fields.features}, dtype);
    TensorParts bias;
    if (fields.use_bias) bias = weights.parts("bias", {fields.features}, dtype);
    return ops::Einsum({"a", "ab", "b", /*leading_axes=*/true}, kernel, std::move(bias),
                       fields.dense.activation, dtype, fields.dense.compute_dtype);
  }
};

SL_REGISTER_LAYER(Dense);

}  // namespace
}  // namespace sl
