// Real-gated linear recurrent unit (reference: recurrent.RGLRU; De et al. 2024, Griffin): with r, i
// = sigmoid(x W_a + b_a), sigmoid(x W_x + b_x) in heads, a = exp(-8 r softplus(a_param)) and
// h_t = a h_{t-1} + sqrt(1 - |a|^2) i x. The first step of a stream is not scaled. If not
// only_real, a has the phase r a_imag_param, and the first half of x and y is the real part; the
// reference's scan accumulates real parts alone, so that the imaginary half of y is zero. As there,
// invalid steps take part.
#include "layers/builder.h"
#include "ops/einsum.h"
#include "ops/elementwise.h"
#include "ops/softplus.h"

namespace sl {
namespace {

using kernels::Binary;
using kernels::Unary;

class Rglru final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : units(config.integer("units", 1)),
          num_heads(config.integer("num_heads", 1)),
          only_real(config.boolean("only_real", true)),
          compute_dtype(config.optional_dtype("compute_dtype")),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)) {
      config.choice("scan_type", {"auto", "linear_native", "associative_native", "linear_pallas"},
                    0);
      config.ignore({"scan_sharding", "a_sharding", "gate_kernel_variance_scale",
                     "gate_kernel_sharding", "gate_bias_sharding"});
      const double min_rad = config.number("min_rad", 0.9);
      if (!only_real && units % 2 != 0) config.error("units", "must be even if not only_real");
      if (!only_real && min_rad >= 0.999) {
        config.error("min_rad", "must be less than 0.999 if not only_real");
      }
      if (width() % num_heads != 0) {
        config.error("num_heads", "must divide the number of (complex) units");
      }
    }
    // Numbers in the state of one stream, each complex unless only_real.
    int64_t width() const { return only_real ? units : units / 2; }

    int64_t units;
    int64_t num_heads;
    bool only_real;
    std::optional<DType> compute_dtype;
    DType param_dtype;
  };

  Rglru(Fields fields, const Init& init)
      : fields_(fields),
        input_gate_(gate("input_gate", init.weights)),
        a_gate_(gate("a_gate", init.weights)),
        in_float_(parameters(DType::kFloat32, init.weights)),
        in_half_(parameters(fields.compute_dtype.value_or(fields.param_dtype), init.weights)) {}

  ReceptiveFields receptive_field_per_step() const override { return {StepRange{-kInfinite, 0}}; }

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape != Shape{fields_.units}) {
      fail(Code::kShape, "RGLRU \"{}\": expected channels [{}], got {}", name(), fields_.units,
           to_string(input.shape));
    }
    const DType compute = fields_.compute_dtype ? *fields_.compute_dtype
                                                : promote_inexact(input.dtype, fields_.param_dtype);
    if (!is_float(compute) || input.dtype == DType::kComplex64) {
      fail(Code::kShape, "RGLRU \"{}\": cannot compute on {}", name(), name_of(input.dtype));
    }
    if (is_half(compute) && !fields_.only_real) {
      fail(Code::kShape, "RGLRU \"{}\": cannot compute complex units in {}", name(),
           name_of(compute));
    }
    return {compute, {fields_.units}};
  }

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {fields_.units}};
  }

  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.state("h", DType::kFloat32, {input.batch, fields_.width()});
    declaration.state("started", DType::kBool, {1});
  }

  Sequence layer(Run& run, const Sequence& x) const override {
    auto* h = run.scratch<float>(x.batch * fields_.width());
    std::fill(h, h + x.batch * fields_.width(), 0.0f);
    uint8_t started = 0;
    return scan(run, x, h, &started);
  }

  Sequence step(Run& run, const Sequence& x) const override {
    auto* h = run.state<float>();
    auto* started = run.state<uint8_t>();
    return scan(run, x, h, started);
  }

 private:
  // As the reference rounds them to the dtype it computes in.
  struct Parameters {
    std::vector<float> decay;  // -8 softplus(a_param)
    std::vector<float> phase;  // a_imag_param
  };

  // What one step does to the state: h = a h + scale gate x. Each of [width].
  struct Coefficients {
    float* a;
    float* scale;
    float* cosine;
  };

  Parameters parameters(DType compute, const WeightScope& weights) const {
    const int64_t width = fields_.width();
    Parameters made{weights.floats("a_param", {width}), {}};
    ops::round_to(compute, made.decay.data(), width);
    for (float& value : made.decay) value = -8 * ops::softplus(value, compute);
    if (!fields_.only_real) {
      made.phase = weights.floats("a_imag_param", {width});
      ops::round_to(compute, made.phase.data(), width);
    }
    return made;
  }

  ops::Einsum gate(std::string_view name, const WeightScope& weights) const {
    const int64_t heads = fields_.num_heads;
    const Shape shape{heads, fields_.units / heads, fields_.width() / heads};
    const Shape bias_shape{heads, fields_.width() / heads};
    const WeightScope scope = weights.child(name);
    return ops::Einsum({"hi", "hij", "hj"}, scope.floats("kernel", shape), shape,
                       scope.floats("bias", bias_shape), bias_shape, Activation{Unary::kSigmoid},
                       fields_.param_dtype, fields_.compute_dtype);
  }

  // A gate of all steps, [batch, time, width].
  const float* gates(Run& run, const ops::Einsum& gate, const Sequence& x, DType compute) const {
    const int64_t heads = fields_.num_heads;
    const Sequence in = x.with_channels({heads, fields_.units / heads});
    const Sequence out = run.on_side(other(run.side()), [&] { return gate.apply(run, in); });
    return ops::as_floats(run, out, compute);
  }

  // h is [batch, width] and holds the last step's when it returns.
  Sequence scan(Run& run, const Sequence& x, float* h, uint8_t* started) const {
    const ChannelSpec spec = output_spec(x.spec(), run.constants());
    const int64_t width = fields_.width();
    const DType compute = spec.dtype;
    const Sequence y = run.output_like(x, spec);
    const float* in = ops::as_floats(run, x, compute);
    const float* input_gates = gates(run, input_gate_, x, compute);
    const float* a_gates = gates(run, a_gate_, x, compute);
    constexpr int64_t kUpdates = 16384;  // that pay for waking a thread
    const int64_t grain = 16 + kUpdates / std::max<int64_t>(x.steps(), 1);
    ops::for_ranges_with_scratch(
        run, width, grain, 4 * width, [&](int64_t begin, int64_t end, float* scratch) {
          recur({x, begin, end - begin, compute}, *started != 0,
                {in + begin, input_gates + begin, a_gates + begin}, scratch, h + begin, y);
        });
    if (x.time > 0) *started = 1;
    return y;
  }

  // Some of the numbers of the state, for all steps of x.
  struct Part {
    const Sequence& x;
    int64_t begin;
    int64_t count;
    DType compute;
  };

  // Where the first step's numbers of a part are, in x and in the gates.
  struct Inputs {
    const float* x;
    const float* gate;
    const float* a_gate;
  };

  // `scratch` has four numbers for each of the part.
  void recur(const Part& part, bool started, const Inputs& inputs, float* scratch, float* h,
             const Sequence& y) const {
    const int64_t count = part.count, width = fields_.width(), time = part.x.time;
    const Coefficients to{scratch, scratch + count, scratch + 2 * count};
    float* gated = scratch + 3 * count;
    for (int64_t step = 0; step < part.x.steps(); ++step) {
      const int64_t b = step / time, t = step % time;
      coefficients(part, inputs.a_gate + step * width, t == 0 && !started, to);
      multiply(part, inputs.x + step * fields_.units, inputs.gate + step * width, gated);
      multiply(part, gated, to.scale, gated);
      float* now = h + b * width;
      for (int64_t j = 0; j < count; ++j) now[j] = to.a[j] * now[j] + gated[j];
      const auto size = static_cast<int64_t>(size_of(part.compute));
      std::byte* out = y.frame(b, t) + part.begin * size;
      ops::convert(now, DType::kFloat32, out, part.compute, count);
      if (!fields_.only_real) {
        std::memset(out + width * size, 0, static_cast<size_t>(count * size));
      }
    }
  }

  // Every result is rounded to `compute`, as the reference computes.
  void coefficients(const Part& part, const float* gate, bool first, const Coefficients& to) const {
    const int64_t count = part.count;
    const DType compute = part.compute;
    if (first) {
      std::fill(to.a, to.a + count, 0.0f);
      std::fill(to.scale, to.scale + count, 1.0f);
      return;
    }
    const Parameters& parameters = is_half(compute) ? in_half_ : in_float_;
    float* a = to.a;
    multiply(part, gate, parameters.decay.data() + part.begin, a);  // log |a|
    // sqrt(1 - |a|^2)
    kernels::binary_scalar(Binary::kMultiply, a, 2, to.scale, count);
    ops::activate(to.scale, count, {Unary::kExp}, compute);
    kernels::binary_scalar(Binary::kMultiply, to.scale, -1, to.scale, count);
    kernels::binary_scalar(Binary::kAdd, to.scale, 1, to.scale, count);
    ops::round_to(compute, to.scale, count);
    ops::activate(to.scale, count, {Unary::kSqrt}, compute);
    ops::activate(a, count, {Unary::kExp}, compute);
    if (fields_.only_real) return;
    multiply(part, gate, parameters.phase.data() + part.begin, to.cosine);
    ops::activate(to.cosine, count, {Unary::kCos}, compute);
    multiply(part, a, to.cosine, a);
  }

  static void multiply(const Part& part, const float* a, const float* b, float* y) {
    kernels::binary(Binary::kMultiply, a, b, y, part.count);
    ops::round_to(part.compute, y, part.count);
  }

  Fields fields_;
  ops::Einsum input_gate_;
  ops::Einsum a_gate_;
  Parameters in_float_;
  Parameters in_half_;  // in the only half dtype that can be computed in, if any
};

SL_REGISTER_LAYER_AS(RGLRU, Rglru);

}  // namespace
}  // namespace sl
