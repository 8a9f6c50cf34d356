// Window: multiplies a channel axis with a window function (reference: dsp.Window).
#include "layers/builder.h"
#include "layers/dsp/window_function.h"
#include "layers/shape/channel_axes.h"
#include "ops/broadcast.h"
#include "ops/elementwise.h"
#include "ops/per_size.h"

namespace sl {
namespace {

class Window final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : axis(config.integer("axis", -Shape::kMaxRank)),
          function(read_window(config, "window_fn", false)) {
      if (axis == 0 || axis == 1) config.error("axis", "batch and time (0 and 1) are not channels");
    }
    int64_t axis;
    WindowFunction function;
  };

  Window(Fields fields, const Init&) : fields_(std::move(fields)) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.dtype == DType::kBool) {
      fail(Code::kShape, "expected numbers, got {}", name_of(input.dtype));
    }
    channel_axis(fields_.axis, input.shape);  // fails if there is no such axis
    return {windowed_dtype(input.dtype), input.shape};
  }
  void do_declare(Declaration&, const SequenceSpec& input) const override {
    operand(do_output_spec(input.channels, {}));
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const ChannelSpec spec{windowed_dtype(x.dtype), x.channels};
    if (spec.dtype == x.dtype) {
      return ops::broadcast_binary(run, ops::Arithmetic::kMultiply, x, operand(spec));
    }
    const Sequence y = ops::cast(run, x, spec.dtype);
    ops::broadcast_in_place(run, ops::Arithmetic::kMultiply, y, operand(spec));
    return y;
  }

  // The reference makes windows for bfloat16 and for integers in float32, and so their products.
  static DType windowed_dtype(DType input) {
    return input == DType::kBFloat16 || is_integer(input) ? DType::kFloat32 : input;
  }
  // The window as an operand that broadcasts to the axes after its own.
  const ops::BroadcastOperand& operand(const ChannelSpec& input) const {
    const int axis = channel_axis(fields_.axis, input.shape);
    const int64_t length = input.shape[axis], after = input.shape.rank() - axis - 1;
    const int64_t key = (length * Shape::kMaxRank + after) * 8 + static_cast<int64_t>(input.dtype);
    return operands_.get(key, [&] {
      Array window;
      window.shape.push_back(length);
      for (int64_t i = 0; i < after; ++i) window.shape.push_back(1);
      for (double v : fields_.function(length, input.dtype)) {
        window.values.emplace_back(static_cast<float>(v));
      }
      return ops::BroadcastOperand(window);
    });
  }

  Fields fields_;
  ops::PerSize<ops::BroadcastOperand> operands_;
};

SL_REGISTER_LAYER(Window);

}  // namespace
}  // namespace sl
