// Affine: y = scale x + bias, both learned and broadcast to the channels (reference:
// simple.Affine).
#include <optional>
#include <vector>

#include "layers/builder.h"
#include "layers/shape/shape_field.h"
#include "ops/broadcast.h"

namespace sl {
namespace {

using ops::Arithmetic;
using ops::BroadcastOperand;

class Affine final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : use_bias(config.boolean("use_bias", true)),
          use_scale(config.boolean("use_scale", true)),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)) {
      const auto sizes = config.optional_integers("shape");
      if (sizes) shape = to_shape(config, "shape", *sizes, 0);
      config.ignore({"scale_init", "bias_init", "scale_sharding", "bias_sharding"});
    }
    bool use_bias;
    bool use_scale;
    Shape shape;
    DType param_dtype;
  };

  Affine(Fields fields, const Init& init) : shape_(fields.shape) {
    const bool is_complex = fields.param_dtype == DType::kComplex64;
    const DType dtype = is_complex ? DType::kComplex64 : DType::kFloat32;
    if (fields.use_scale) scale_.emplace(init.weights.get("scale", shape_, dtype));
    if (fields.use_bias) bias_.emplace(init.weights.get("bias", shape_, dtype));
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (scale_) return scale_->output_spec(Arithmetic::kMultiply, input);
    if (bias_) return bias_->output_spec(Arithmetic::kAdd, input);
    if (broadcast(input.shape, shape_) != input.shape) {
      fail(Code::kShape, "shape {} does not fit the input {}", to_string(shape_), to_string(input));
    }
    return input;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (!scale_ && !bias_) return x;
    if (!scale_) return ops::broadcast_binary(run, Arithmetic::kAdd, x, *bias_);
    const Sequence y = ops::broadcast_binary(run, Arithmetic::kMultiply, x, *scale_);
    if (bias_) ops::broadcast_in_place(run, Arithmetic::kAdd, y, *bias_);
    return y;
  }

  Shape shape_;
  std::optional<BroadcastOperand> scale_;
  std::optional<BroadcastOperand> bias_;
};

SL_REGISTER_LAYER(Affine);

}  // namespace
}  // namespace sl
