// Real-gated linear recurrent unit (reference: recurrent.RGLRU; De et al. 2024, Griffin): with r, i
// = sigmoid(x W_a + b_a), sigmoid(x W_x + b_x) in heads, a = exp(-8 r softplus(a_param)) and
// h_t = a h_{t-1} + sqrt(1 - |a|^2) i x. The first step of a stream is not scaled. If not
// only_real, a has the phase r a_imag_param, and the first half of x and y is the real part; the
// reference's scan accumulates real parts alone, so that the imaginary half of y is zero, and y is
// real even if x, and with it the gates, is complex. As in the reference, invalid steps take part,
// but their values that are not finite count as zero.
#include "kernels/state_space.h"
#include "layers/builder.h"
#include "ops/associative_scan.h"
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
          param_dtype(config.dtype("param_dtype", DType::kFloat32)),
          cuts_time(is_associative(config)) {
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
    // The number of state values of one stream; they are complex unless only_real.
    int64_t width() const { return only_real ? units : units / 2; }

    int64_t units;
    int64_t num_heads;
    bool only_real;
    std::optional<DType> compute_dtype;
    DType param_dtype;
    bool cuts_time;  // whether the scan may divide time among threads

   private:
    static bool is_associative(Config& config) {
      const size_t type = config.choice(
          "scan_type", {"auto", "linear_native", "associative_native", "linear_pallas"}, 0);
      return type == 0 || type == 2;
    }
  };

  Rglru(Fields fields, const Init& init)
      : fields_(fields),
        input_gate_(gate("input_gate", init.weights)),
        a_gate_(gate("a_gate", init.weights)),
        in_float_(parameters(DType::kFloat32, init.weights)),
        in_half_(parameters(fields.compute_dtype.value_or(fields.param_dtype), init.weights)) {}

  ReceptiveFields receptive_field_per_step() const override { return {StepRange{-kInfinite, 0}}; }

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {fields_.units}};
  }

  bool reads_invalid_steps() const override { return true; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape != Shape{fields_.units}) {
      fail(Code::kShape, "expected channels [{}], got {}", fields_.units, to_string(input.shape));
    }
    const DType compute = compute_dtype(input.dtype);
    if (!is_inexact(compute) || (compute == DType::kComplex64 && fields_.only_real)) {
      fail(Code::kShape, "cannot compute on {}", name_of(input.dtype));
    }
    if (is_half(compute) && !fields_.only_real) {
      fail(Code::kShape, "cannot compute complex units in {}", name_of(compute));
    }
    return {compute == DType::kComplex64 ? DType::kFloat32 : compute, {fields_.units}};
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.state("h", DType::kFloat32, {input.batch, fields_.width()});
    declaration.state("started", DType::kBool, {input.batch});
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    auto* h = run.scratch<float>(x.batch, fields_.width());
    std::fill(h, h + x.batch * fields_.width(), 0.0f);
    auto* started = run.scratch<uint8_t>(x.batch);
    std::fill_n(started, x.batch, uint8_t{0});
    return scan(run, x, h, started);
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const auto h = run.state<float>("h");
    const auto started = run.state<uint8_t>("started");
    return scan(run, x, h, started);
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    return minds_early_steps(before, "advances on invalid steps too");
  }

  DType compute_dtype(DType input) const {
    return fields_.compute_dtype ? *fields_.compute_dtype
                                 : promote_inexact(input, fields_.param_dtype);
  }

  // The parameters, rounded as the reference rounds them to the dtype of the computation.
  struct Parameters {
    std::vector<float> decay;  // -8 softplus(a_param)
    std::vector<float> phase;  // a_imag_param
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
    TensorParts bias;
    bias.shape = bias_shape;
    bias.real = scope.floats("bias", bias_shape);
    return ops::Einsum({"hi", "hij", "hj"}, scope.kernel("kernel", shape, DType::kFloat32),
                       std::move(bias), Activation{Unary::kSigmoid}, fields_.param_dtype,
                       fields_.compute_dtype);
  }

  // The recurrence h = a h + v over rows [batch, time, width]. Writes each h to y, which may be v.
  class Units final : public ops::LinearRecurrence {
   public:
    Units(int64_t width, int64_t time, const float* a, const float* v, float* y)
        : width_(width), time_(time), a_(a), v_(v), y_(y) {}

    void scan(const ops::ScanPart& part, float* state, float*) const override {
      const int64_t at = row(part);
      kernels::varying_scan(a_ + at, v_ + at, width_, part.first, part.last, part.steps(), y_ + at,
                            state);
    }
    void reduce(const ops::ScanPart& part, float* state, float* decay, float*) const override {
      std::fill(decay + part.first, decay + part.last, 1.0f);
      kernels::varying_reduce(a_ + row(part), v_ + row(part), width_, part.first, part.last,
                              part.steps(), state, decay);
    }

   private:
    int64_t row(const ops::ScanPart& part) const {
      return (part.item * time_ + part.begin) * width_;
    }

    int64_t width_;
    int64_t time_;
    const float* a_;
    const float* v_;
    float* y_;
  };

  // Computes a gate for all steps, [batch, time, width], in `dtype`.
  Sequence gates(Run& run, const ops::Einsum& gate, const Sequence& x, DType dtype) const {
    const int64_t heads = fields_.num_heads;
    const Sequence in = x.with_channels({heads, fields_.units / heads});
    return run.on_side(other(run.side()),
                       [&] { return ops::cast(run, gate.apply(run, in), dtype); });
  }

  // The coefficients of the recurrence for all steps, each [batch, time, width].
  struct Coefficients {
    float* v;
    float* a;
  };

  // `started` tells which items have had a step before x.
  Coefficients coefficients(Run& run, const Sequence& x, DType compute,
                            const uint8_t* started) const {
    const int64_t width = fields_.width();
    const float* in = ops::as_floats(run, x, compute);
    float* v = gates(run, input_gate_, x, DType::kFloat32).floats();
    float* a = gates(run, a_gate_, x, DType::kFloat32).floats();
    ops::for_ranges_with_scratch(run, x.steps(), ops::steps_of_work(width), 2 * width,
                                 [&](int64_t begin, int64_t end, float* scratch) {
                                   for (int64_t step = begin; step < end; ++step) {
                                     set_coefficients(compute, is_first(x, step, started),
                                                      in + step * fields_.units, scratch,
                                                      v + step * width, a + step * width);
                                   }
                                 });
    return {v, a};
  }

  Coefficients complex_coefficients(Run& run, const Sequence& x, const uint8_t* started) const {
    const int64_t width = fields_.width();
    const auto* in = x.as<const complex64>();
    const auto* gate = gates(run, input_gate_, x, DType::kComplex64).as<const complex64>();
    const auto* a_gate = gates(run, a_gate_, x, DType::kComplex64).as<const complex64>();
    auto* v = run.scratch<float>(x.steps(), width);
    auto* a = run.scratch<float>(x.steps(), width);
    ops::for_steps(run, x.steps(), width, [&](int64_t begin, int64_t end) {
      for (int64_t step = begin; step < end; ++step) {
        const int64_t at = step * width;
        set_complex_coefficients(is_first(x, step, started), in + step * fields_.units, gate + at,
                                 a_gate + at, v + at, a + at);
      }
    });
    return {v, a};
  }

  static bool is_first(const Sequence& x, int64_t step, const uint8_t* started) {
    return step % x.time == 0 && started[step / x.time] == 0;
  }

  // Runs all steps. h [batch, width] is the state before, and on return after them; `started` tells
  // which items have had a step before.
  Sequence scan(Run& run, const Sequence& given, float* h, uint8_t* started) const {
    const Sequence x = ops::finite_where_invalid(run, given);
    const int64_t width = fields_.width();
    const DType compute = compute_dtype(x.dtype);
    const Sequence y = run.output_like(x, do_output_spec(x.spec(), run.constants()));
    const auto [v, a] = compute == DType::kComplex64 ? complex_coefficients(run, x, started)
                                                     : coefficients(run, x, compute, started);
    // The coefficients, 3 more if the decay has a phase, and the multiply-add of the recurrence.
    run.parallel().count((fields_.only_real ? 10 : 13) * x.steps() * width);
    const bool direct = compute == DType::kFloat32 && fields_.only_real;
    ops::associative_scan(
        run, {.batch = x.batch, .time = x.time, .lanes = width, .cuts_time = fields_.cuts_time},
        Units(width, x.time, a, v, direct ? y.floats() : v), h);
    if (!direct) put(run, v, y);
    if (x.time > 0) std::fill_n(started, x.batch, uint8_t{1});
    return y;
  }

  // Computes v = sqrt(1 - |a|^2) gate x and a of one step, which replace the gates of x and of a.
  // Every result is rounded to `compute`, as in the reference. `scratch` is [2, width].
  void set_coefficients(DType compute, bool first, const float* x, float* scratch, float* v,
                        float* a) const {
    const int64_t width = fields_.width();
    const auto multiply = [&](const float* by, float* to) {
      kernels::binary(Binary::kMultiply, by, to, to, width);
      ops::round_to(compute, to, width);
    };
    multiply(x, v);
    if (first) {
      std::fill_n(a, width, 0.0f);
      return;
    }
    const Parameters& parameters = is_half(compute) ? in_half_ : in_float_;
    float* scale = scratch;
    float* cosine = scratch + width;
    if (!fields_.only_real) {
      std::copy_n(a, width, cosine);
      multiply(parameters.phase.data(), cosine);
      ops::activate(cosine, width, {Unary::kCos}, compute);
    }
    multiply(parameters.decay.data(), a);  // log |a|
    // sqrt(1 - |a|^2)
    kernels::binary_scalar(Binary::kMultiply, a, 2, scale, width);
    ops::activate(scale, width, {Unary::kExp}, compute);
    kernels::binary_scalar(Binary::kMultiply, scale, -1, scale, width);
    kernels::binary_scalar(Binary::kAdd, scale, 1, scale, width);
    ops::round_to(compute, scale, width);
    ops::activate(scale, width, {Unary::kSqrt}, compute);
    multiply(scale, v);
    ops::activate(a, width, {Unary::kExp}, compute);
    if (!fields_.only_real) multiply(cosine, a);
  }

  // Computes the real parts of v = sqrt(1 - a'^2) gate x and of a for one step, where a' is a
  // without the phase of a_imag_param.
  void set_complex_coefficients(bool first, const complex64* x, const complex64* gate,
                                const complex64* a_gate, float* v, float* a) const {
    using Wide = std::complex<double>;
    const int64_t width = fields_.width();
    for (int64_t j = 0; j < width; ++j) {
      const auto at = static_cast<size_t>(j);
      const Wide gated = Wide(gate[j]) * (Wide(x[j]) + Wide(0, 1) * Wide(x[width + j]));
      const double decay = static_cast<double>(in_float_.decay[at]);
      const double phase = static_cast<double>(in_float_.phase[at]);
      const Wide scale = std::sqrt(1.0 - std::exp(2 * decay * Wide(a_gate[j])));
      v[j] = static_cast<float>((first ? gated : gated * scale).real());
      a[j] = first ? 0 : static_cast<float>(std::exp(Wide(a_gate[j]) * Wide(decay, phase)).real());
    }
  }

  // Writes the rows h to y, with imaginary parts of zero.
  void put(const Run& run, const float* h, const Sequence& y) const {
    const int64_t width = fields_.width();
    const size_t bytes = static_cast<size_t>(width) * size_of(y.dtype);
    ops::for_steps(run, y.steps(), width, [&](int64_t begin, int64_t end) {
      for (int64_t step = begin; step < end; ++step) {
        std::byte* out = y.frame(step / y.time, step % y.time);
        ops::convert(h + step * width, DType::kFloat32, out, y.dtype, width);
        if (!fields_.only_real) std::memset(out + bytes, 0, bytes);
      }
    });
  }

  Fields fields_;
  ops::Einsum input_gate_;
  ops::Einsum a_gate_;
  Parameters in_float_;
  Parameters in_half_;  // for the only half-precision dtype that the layer can compute in, if any
};

SL_REGISTER_LAYER_AS(RGLRU, Rglru);

}  // namespace
}  // namespace sl
