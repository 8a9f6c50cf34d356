// DenseShaped: y = activation(x W + b), where the product sums over all channel axes of x and has
// the channel shape "output_shape" (reference: dense.DenseShaped).
#include "layers/builder.h"
#include "layers/dense/fields.h"
#include "layers/dense/shaped_dense.h"

namespace sl {
namespace {

class DenseShaped final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : output_shape(config.integers("output_shape")),
          use_bias(config.boolean("use_bias", true)),
          dense(config) {
      for (const int64_t dim : output_shape) {
        if (dim < 1)
          config.error("output_shape", fmt::format("expected positive sizes, got {}", dim));
      }
    }
    std::vector<int64_t> output_shape;
    bool use_bias;
    DenseFields dense;
  };

  DenseShaped(Fields fields, const Init& init)
      : dense_(init.weights, Shape(fields.output_shape), fields.use_bias, fields.dense.activation,
               fields.dense.param_dtype, fields.dense.compute_dtype) {}

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, dense_.implied_input()};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return dense_.output_spec(input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return dense_.apply(run, x); }

  ShapedDense dense_;
};

SL_REGISTER_LAYER(DenseShaped);

}  // namespace
}  // namespace sl
