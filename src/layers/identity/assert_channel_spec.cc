// AssertChannelSpec: the identity, but fails unless the input has a given channel shape and dtype
// (reference: tensorflow simple.AssertChannelSpec).
#include <optional>

#include "layers/builder.h"
#include "layers/shape/shape_field.h"

namespace sl {
namespace {

class AssertChannelSpec final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : dtype(config.optional_dtype("expected_dtype")) {
      const auto sizes = config.optional_integers("expected_channel_shape");
      if (sizes) shape = to_shape(config, "expected_channel_shape", *sizes, 0);
    }
    std::optional<Shape> shape;
    std::optional<DType> dtype;
  };

  AssertChannelSpec(Fields fields, const Init&) : fields_(fields) {}

  bool returns_view() const override { return true; }
  std::optional<ChannelSpec> implied_input() const override {
    if (!fields_.shape) return std::nullopt;
    return ChannelSpec{fields_.dtype.value_or(DType::kFloat32), *fields_.shape};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    const ChannelSpec expected{fields_.dtype.value_or(input.dtype),
                               fields_.shape.value_or(input.shape)};
    if (input != expected) {
      fail(Code::kShape, "expected {}, got {}", to_string(expected), to_string(input));
    }
    return input;
  }
  Sequence do_layer(Run&, const Sequence& x) const override { return x; }

  Fields fields_;
};

SL_REGISTER_LAYER(AssertChannelSpec);

}  // namespace
}  // namespace sl
