// Conditioning: combines x with a constant that runs along with it, or that holds for all of it,
// projected before if wanted (reference: conditioning.Conditioning).
#include <array>
#include <optional>

#include "layers/builder.h"
#include "layers/dense/shaped_dense.h"
#include "layers/simple/shape_field.h"
#include "layers/stream_position.h"
#include "ops/broadcast.h"
#include "ops/combine.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

enum class Projection { kIdentity, kLinear, kLinearAffine };
enum class Mixing { kAdd, kConcat, kAffine, kAffineShift, kAffineScale, kMultiply, kConcatBefore };

size_t required_choice(Config& config, const char* field, const std::vector<std::string>& names) {
  config.string(field);
  return config.choice(field, names, 0);
}

// The dtype of scale + offset, a number of no dtype of its own.
DType offset_dtype(DType scale, const Array& offset) {
  return offset.is_complex ? DType::kComplex64 : scale;
}

class Conditioning final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : constant(config.string("conditioning_name")),
          projection(static_cast<Projection>(
              required_choice(config, "projection", {"identity", "linear", "linear_affine"}))),
          mixing(static_cast<Mixing>(required_choice(config, "combination",
                                                     {"add", "concat", "affine", "affine_shift",
                                                      "affine_scale", "mul", "concat_before"}))),
          streaming(config.boolean("streaming", false)),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)),
          compute_dtype(config.optional_dtype("compute_dtype")) {
      const auto sizes = config.optional_integers("projection_channel_shape");
      if (sizes) projected = to_shape(config, "projection_channel_shape", *sizes, 1);
      config.note("affine_scale_offset", "number", "1");
      if (config.raw("affine_scale_offset")) {
        offset = config.array("affine_scale_offset");
        if (!offset.shape.empty()) config.error("affine_scale_offset", "expected one number");
      } else {
        offset.values = {1};
      }
      config.ignore({"kernel_init", "kernel_sharding", "bias_init", "bias_sharding"});
      check(config);
    }

    void check(const Config& config) const {
      const auto expect = [&](bool good, const char* expected) {
        if (good) return;
        config.error("projection", fmt::format("expected \"{}\" with this combination", expected));
      };
      const bool is_linear = projection == Projection::kLinear;
      const bool is_affine = projection == Projection::kLinearAffine;
      if (mixing == Mixing::kAffine) return expect(is_affine, "linear_affine");
      if (mixing == Mixing::kAffineShift || mixing == Mixing::kAffineScale)
        return expect(is_linear, "linear");
      expect(!is_affine, "identity\" or \"linear");
    }

    std::string constant;
    Projection projection;
    Mixing mixing;
    std::optional<Shape> projected;
    bool streaming;
    DType param_dtype;
    std::optional<DType> compute_dtype;
    Array offset;
  };

  Conditioning(Fields fields, const Init& init)
      : fields_(std::move(fields)), offset_(fields_.offset) {
    if (fields_.projection == Projection::kIdentity) return;
    const WeightScope weights = init.weights.child("dense");
    dense_.emplace(weights, projected_shape(weights), /*use_bias=*/true, std::nullopt,
                   fields_.param_dtype, fields_.compute_dtype);
  }

  std::vector<ConstantSpec> constants() const override {
    ConstantSpec spec;
    spec.name = fields_.constant;
    spec.streamed = fields_.streaming;
    spec.broadcasts = true;
    // A kernel for one channel takes scalars too.
    if (dense_ && dense_->implied_input() != Shape{1}) spec.channels = dense_->implied_input();
    return {spec};
  }

  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const Constant& constant = constants.get(fields_.constant);
    try {
      return mixed_spec(input,
                        projected_spec(input, {constant.sequence.dtype, constant.channels()}));
    } catch (const Error& error) {
      fail(error.code(), "Conditioning \"{}\": {}", name(), error.what());
    }
  }

  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode != Mode::kStep) return;
    const Constant& constant = declaration.constants().get(fields_.constant);
    if (is_sliced(constant)) declare_position(declaration, {1});
    if (fields_.streaming) check_time(constant, input.time);
  }

  Sequence layer(Run& run, const Sequence& x) const override {
    const Constant& constant = run.constants().get(fields_.constant);
    check_time(constant, x.time);
    return mix(run, x, as_sequence(run, constant));
  }

  Sequence step(Run& run, const Sequence& x) const override {
    const Constant& constant = run.constants().get(fields_.constant);
    return mix(
        run, x,
        is_sliced(constant) ? slice(run, constant.sequence, x.time) : as_sequence(run, constant));
  }

 private:
  // Whether a stream takes the steps of x's time out of a whole sequence. One step is for all time,
  // as it is layer-wise.
  bool is_sliced(const Constant& constant) const {
    return !constant.is_array && !fields_.streaming && constant.sequence.time != 1;
  }

  void check_time(const Constant& constant, int64_t time) const {
    const int64_t given = constant.sequence.time;
    if (constant.is_array || given == time || given == 1) return;
    fail(Code::kShape, "Conditioning \"{}\": constant \"{}\" has {} steps: expected {}, as x has",
         name(), fields_.constant, given, time);
  }

  // The output of the kernel, which the bias tells where the config leaves it to the input.
  Shape projected_shape(const WeightScope& weights) const {
    if (!fields_.projected) return weights.get_any("bias").shape;
    Shape shape = *fields_.projected;
    if (fields_.projection == Projection::kLinearAffine) shape.insert(0, 2);
    return shape;
  }

  // What the projection makes of the constant, when x is `input`.
  ChannelSpec projected_spec(const ChannelSpec& input, const ChannelSpec& constant) const {
    if (!dense_) return constant;
    ChannelSpec out = dense_->output_spec(constant);
    if (fields_.projected) return out;
    Shape wanted = input.shape;
    if (fields_.projection == Projection::kLinearAffine) wanted.insert(0, 2);
    const Shape least = wanted.empty() ? Shape{1} : wanted;
    if (least != out.shape) {
      fail(Code::kShape, "input {}: the projection's bias is {}: expected {}", to_string(input),
           to_string(out.shape), to_string(least));
    }
    return {out.dtype, wanted};
  }

  ChannelSpec mixed_spec(const ChannelSpec& x, const ChannelSpec& c) const {
    const auto combined = [](ops::Combination combination, const ChannelSpec& a,
                             const ChannelSpec& b) {
      const std::array<ChannelSpec, 2> specs = {a, b};
      return ops::combined_spec(combination, specs);
    };
    using Combination = ops::Combination;
    const ChannelSpec scale{offset_dtype(c.dtype, fields_.offset), c.shape};
    switch (fields_.mixing) {
      case Mixing::kConcat:
        return combined(Combination::kConcat, x, c);
      case Mixing::kConcatBefore:
        return combined(Combination::kConcat, c, x);
      case Mixing::kMultiply:
        return combined(Combination::kProduct, x, c);
      case Mixing::kAffineScale:
        return combined(Combination::kProduct, x, scale);
      case Mixing::kAffine: {
        const Shape each = c.shape.slice(1, c.shape.rank());
        return combined(Combination::kAdd, combined(Combination::kProduct, x, {scale.dtype, each}),
                        {c.dtype, each});
      }
      default:
        return combined(Combination::kAdd, x, c);
    }
  }

  // An array holds for all time, as a sequence of one valid step does.
  static Sequence as_sequence(Run& run, const Constant& constant) {
    Sequence out = constant.sequence;
    if (!constant.is_array) return out;
    out.channels = constant.channels();
    out.batch = constant.batch();
    out.time = 1;
    out.mask = run.scratch<uint8_t>(out.batch);
    std::memset(out.mask, 1, static_cast<size_t>(out.batch));
    return out;
  }

  // The next `time` steps; those after the end are invalid.
  static Sequence slice(Run& run, const Sequence& whole, int64_t time) {
    const Sequence out = run.scratch_sequence(whole.spec(), whole.batch, time);
    const int64_t begin = std::min(take_position(run, time), whole.time);
    const int64_t count = std::min(time, whole.time - begin);
    const size_t bytes = static_cast<size_t>(count) * whole.frame_bytes();
    for (int64_t b = 0; b < whole.batch; ++b) {
      if (count > 0) {
        std::memcpy(out.frame(b, 0), whole.frame(b, begin), bytes);
        std::memcpy(out.mask_at(b, 0), whole.mask_at(b, begin), static_cast<size_t>(count));
      }
      const auto rest = static_cast<size_t>(time - count);
      std::memset(out.frame(b, 0) + bytes, 0, rest * whole.frame_bytes());
      std::memset(out.mask_at(b, 0) + count, 0, rest);
    }
    return out;
  }

  // c repeated over batch and time where it has one for all.
  static Sequence spread(Run& run, const Sequence& c, const Sequence& x) {
    if (c.batch == x.batch && c.time == x.time) return c;
    const Sequence out = run.scratch_sequence(c.spec(), x.batch, x.time);
    for (int64_t b = 0; b < x.batch; ++b) {
      for (int64_t t = 0; t < x.time; ++t) {
        const int64_t from_b = c.batch == 1 ? 0 : b, from_t = c.time == 1 ? 0 : t;
        std::memcpy(out.frame(b, t), c.frame(from_b, from_t), c.frame_bytes());
        *out.mask_at(b, t) = *c.mask_at(from_b, from_t);
      }
    }
    return out;
  }

  Sequence project(Run& run, const Sequence& x, const Sequence& c) const {
    if (!dense_) return c;
    const Sequence y = run.on_side(other(run.side()), [&] { return dense_->apply(run, c); });
    return y.with_channels(projected_spec(x.spec(), c.spec()).shape);
  }

  // Half of a projection's frames: scale or shift.
  static Sequence half(Run& run, const Sequence& c, int64_t index) {
    const Shape each = c.channels.slice(1, c.channels.rank());
    const Sequence out = run.scratch_sequence({c.dtype, each}, c.batch, c.time);
    ops::StridedView view = ops::dense_view(each);
    view.offset = index * each.size();
    ops::gather_steps(run, c, view, out.values);
    std::memcpy(out.mask, c.mask, static_cast<size_t>(c.steps()));
    return out;
  }

  // scale + offset. `scale` is the layer's own to change.
  Sequence with_offset(Run& run, const Sequence& scale) const {
    const DType dtype = offset_dtype(scale.dtype, fields_.offset);
    const Sequence out = dtype == scale.dtype ? scale : run.on_side(other(run.side()), [&] {
      return ops::cast(run, scale, dtype);
    });
    ops::broadcast_in_place(run, ops::Arithmetic::kAdd, out, offset_);
    return out;
  }

  static Sequence combine(Run& run, ops::Combination combination, const Sequence& a,
                          const Sequence& b) {
    const Sequence inputs[2] = {a, b};
    return ops::combine(run, combination, inputs);
  }

  Sequence mix(Run& run, const Sequence& x, const Sequence& constant) const {
    using Combination = ops::Combination;
    const Sequence c = project(run, x, constant);
    switch (fields_.mixing) {
      case Mixing::kConcat:
        return combine(run, Combination::kConcat, x, spread(run, c, x));
      case Mixing::kConcatBefore:
        return combine(run, Combination::kConcat, spread(run, c, x), x);
      case Mixing::kMultiply:
        return combine(run, Combination::kProduct, x, spread(run, c, x));
      case Mixing::kAffineScale:
        return combine(run, Combination::kProduct, x, spread(run, with_offset(run, c), x));
      case Mixing::kAffine: {
        const Sequence scale = spread(run, with_offset(run, half(run, c, 0)), x);
        const Sequence scaled = run.on_side(
            other(run.side()), [&] { return combine(run, Combination::kProduct, x, scale); });
        return combine(run, Combination::kAdd, scaled, spread(run, half(run, c, 1), x));
      }
      default:
        return combine(run, Combination::kAdd, x, spread(run, c, x));
    }
  }

  Fields fields_;
  ops::BroadcastOperand offset_;
  std::optional<ShapedDense> dense_;
};

SL_REGISTER_LAYER(Conditioning);

}  // namespace
}  // namespace sl
