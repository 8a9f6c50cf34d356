// DenseShaped: y = activation(sum over all channel axes of x W + b), of the channel shape asked for
// (reference: dense.DenseShaped).
#include "layers/builder.h"
#include "layers/dense/einsum_layer.h"
#include "layers/dense/fields.h"

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
      : output_shape_(fields.output_shape),
        kernel_(init.weights.get_any("kernel")),
        einsum_(make(fields, init.weights)) {}

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    try {
      const ChannelSpec out =
          einsum_.output_spec({input.dtype, input.shape.empty() ? Shape{1} : input.shape});
      return {out.dtype, output_shape_};
    } catch (const Error& error) {
      fail(error.code(), "DenseShaped \"{}\": {}", name(), error.what());
    }
  }
  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, *einsum_.implied_input()};
  }
  // A scalar channel is a channel of one to the kernel.
  Sequence layer(Run& run, const Sequence& x) const override {
    const Sequence in = x.channels.empty() ? x.with_channels({1}) : x;
    return einsum_.apply(run, in).with_channels(output_shape_);
  }

 private:
  ops::Einsum make(const Fields& fields, const WeightScope& weights) const {
    const Shape outputs = output_shape_.empty() ? Shape{1} : output_shape_;
    const int inputs = kernel_.shape.rank() - outputs.rank();
    if (inputs < 1 || kernel_.shape.slice(inputs, kernel_.shape.rank()) != outputs ||
        !is_float(kernel_.dtype)) {
      fail(Code::kWeights,
           "DenseShaped: kernel is {} {}: expected floats of the input's channel shape and then {}",
           name_of(kernel_.dtype), to_string(kernel_.shape), to_string(outputs));
    }
    ops::EinsumSpec spec;
    for (int i = 0; i < kernel_.shape.rank(); ++i) {
      const char letter = static_cast<char>('a' + i);
      spec.kernel += letter;
      (i < inputs ? spec.input : spec.output) += letter;
    }
    return ops::Einsum(spec, to_floats(kernel_), kernel_.shape,
                       fields.use_bias ? weights.floats("bias", outputs) : std::vector<float>{},
                       fields.use_bias ? outputs : Shape{}, fields.dense.activation,
                       fields.dense.param_dtype, fields.dense.compute_dtype);
  }

  Shape output_shape_;
  Tensor kernel_;
  ops::Einsum einsum_;
};

SL_REGISTER_LAYER(DenseShaped);

}  // namespace
}  // namespace sl
