// GmmAttention: attends to a source with weights from a mixture of Gaussians over its steps, whose
// parameters are computed from x. If monotonic, the means only move forward (reference:
// attention.GmmAttention).
#include <cmath>
#include <complex>
#include <numbers>

#include "kernels/pointwise.h"
#include "kernels/reduce.h"
#include "layers/attention/source_attention.h"
#include "ops/complex_functions.h"
#include "ops/linear.h"
#include "ops/softplus.h"

namespace sl {
namespace {

float softplus(float x) { return ops::softplus(x, DType::kFloat32); }
complex64 softplus(complex64 x) { return ops::complex_unary(kernels::Unary::kSoftplus, x, 0); }

class GmmAttention final : public SourceAttention {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : source(read_source_name(config)),
          heads(config.integer("num_heads", 1)),
          units(config.integer("units_per_head", 1)),
          components(config.integer("num_components", 1)),
          monotonic(config.boolean("monotonic")),
          use_bias(config.boolean("output_use_bias", true)),
          offset_bias(static_cast<float>(config.number("init_offset_bias", 0))),
          scale_bias(static_cast<float>(config.number("init_scale_bias", 0))),
          max_offset(static_cast<float>(config.number("max_offset", -1))) {
      config.ignore({"precision", "hidden_kernel_init", "hidden_kernel_sharding",
                     "output_kernel_init", "output_bias_init", "output_bias_sharding",
                     "output_kernel_sharding"});
    }

    std::string source;
    int64_t heads, units, components;
    bool monotonic, use_bias;
    float offset_bias, scale_bias;
    float max_offset;  // 0 or less: no maximum
  };

  GmmAttention(Fields fields, const Init& init)
      : SourceAttention(fields.source, fields.heads, "probabilities_by_source." + fields.source),
        fields_(std::move(fields)),
        hidden_(read_hidden(init.weights)),
        output_(read_output(init.weights)) {
    if (fields_.use_bias) {
      bias_ =
          init.weights.child("output").floats("bias", {fields_.heads, fields_.components, kLogits});
    }
  }

  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{fields_.monotonic ? -kInfinite : 0, 0}};
  }

  // The means of a monotonic layer move in invalid steps too.
  bool reads_invalid_steps() const override { return fields_.monotonic; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const Sequence& source = constants.get(source_name()).sequence;
    if (input.shape != Shape{inputs()} || source.channels.rank() != 1) {
      fail(Code::kShape, "expected channels [{}] and a source of one channel axis, got {} and {}",
           inputs(), to_string(input), to_string(source.spec()));
    }
    const bool keeps_dtype = input.dtype == DType::kFloat32 || input.dtype == DType::kComplex64;
    if (fields_.monotonic && !keeps_dtype) {
      fail(Code::kShape,
           "monotonic means begin in the dtype of the input, expected float32 or complex64, got "
           "{}: put a Cast before it",
           name_of(input.dtype));
    }
    return {output_dtype(input.dtype, constants), {fields_.heads, source.channels[0]}};
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    const DType dtype = input.channels.dtype;
    if (fields_.monotonic && input.mode == Mode::kStep) {
      declaration.state("position", output_dtype(dtype, declaration.constants()),
                        {input.batch, fields_.heads, fields_.components});
    }
    declare_emit(declaration, input, weights_dtype(dtype));
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return is_complex(run, x) ? attend_complex(run, x, first_positions<complex64>(run, x))
                              : attend(run, x, first_positions<float>(run, x));
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    if (is_complex(run, x)) return attend_complex(run, x, kept_positions<complex64>(run));
    return attend(run, x, kept_positions<float>(run));
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    if (!fields_.monotonic) return SourceAttention::step_difference(before);
    return minds_early_steps(before, "advances on invalid steps too");
  }

  using Wide = std::complex<double>;

  // Weights are complex if x is, outputs also if the source is.
  static DType weights_dtype(DType input) {
    return input == DType::kComplex64 ? input : DType::kFloat32;
  }
  DType output_dtype(DType input, const Constants& constants) const {
    const DType source = constants.get(source_name()).sequence.dtype;
    return promote(weights_dtype(input), weights_dtype(source));
  }
  bool is_complex(const Run& run, const Sequence& x) const {
    return output_dtype(x.dtype, run.constants()) == DType::kComplex64;
  }
  template <typename T>
  T* first_positions(Run& run, const Sequence& x) const {
    const int64_t count = fields_.monotonic ? x.batch * gaussians() : 0;
    auto* positions = run.scratch<T>(count);
    std::fill_n(positions, count, T());
    return positions;
  }

  template <typename T>
  StateItems<T> kept_positions(Run& run) const {
    return fields_.monotonic ? run.state<T>("position") : StateItems<T>();
  }

  // The number of logits of a Gaussian: prior, offset and scale.
  static constexpr int64_t kLogits = 3;

  int64_t inputs() const override { return hidden_.inputs(); }
  int64_t gaussians() const { return fields_.heads * fields_.components; }

  ops::Linear read_hidden(const WeightScope& weights) const {
    return weights.child("hidden").matrix("kernel", {kAnySize, fields_.heads, fields_.units});
  }

  std::vector<ops::Linear> read_output(const WeightScope& weights) const {
    return weights.child("output").matrices(
        "kernel", {fields_.heads, fields_.units, fields_.components, kLogits});
  }

  // Computes the logits [steps, heads, components, kLogits] from x. Those of a complex x are all
  // real parts, then all imaginary parts.
  const float* logits(Run& run, const Sequence& x) const {
    const int64_t parts = x.dtype == DType::kComplex64 ? 2 : 1, steps = x.steps();
    const int64_t width = hidden_.outputs(), size = steps * width;
    const float* values = ops::real_parts(run, ops::finite_where_invalid(run, x));
    auto* hidden = run.scratch<float>(parts, size);
    hidden_.apply(run, values, hidden_.inputs(), parts * steps, nullptr, false, hidden, width);
    if (parts == 1) {
      kernels::unary(kernels::Unary::kRelu, hidden, hidden, size, 0);
    } else {
      for (int64_t i = 0; i < size; ++i) {
        const complex64 z =
            ops::complex_unary(kernels::Unary::kRelu, {hidden[i], hidden[size + i]}, 0);
        hidden[i] = z.real();
        hidden[size + i] = z.imag();
      }
    }
    auto* out = run.scratch<float>(parts, steps, gaussians() * kLogits);
    output_logits(run, hidden, steps, fields_.use_bias, out);
    if (parts == 2)
      output_logits(run, hidden + size, steps, false, out + steps * gaussians() * kLogits);
    return out;
  }

  void output_logits(Run& run, const float* hidden, int64_t steps, bool with_bias,
                     float* out) const {
    const int64_t outputs = fields_.components * kLogits;
    if (with_bias) run.parallel().count(steps * fields_.heads * outputs);
    for (int64_t n = 0; n < fields_.heads; ++n) {
      output_[static_cast<size_t>(n)].apply(run, hidden + n * fields_.units, hidden_.outputs(),
                                            steps, with_bias ? bias_.data() + n * outputs : nullptr,
                                            false, out + n * outputs, gaussians() * kLogits);
    }
  }

  template <typename T>
  T offset(T logit) const {
    const T x = logit + fields_.offset_bias;
    if (!(fields_.max_offset > 0)) return softplus(x);
    // A soft version of x clamped to [0, max_offset].
    return softplus(x) - softplus(x - fields_.max_offset);
  }

  // Adds the values of a Gaussian at steps 0, 1, ... to `weights`; `row` is scratch.
  void add_gaussian(float prior, float mean, float scale_logit, float* row, float* weights,
                    int64_t time) const {
    const float scale = softplus(scale_logit + fields_.scale_bias);
    const float variance = scale * scale;
    const float peak = prior * std::sqrt(2 * std::numbers::pi_v<float> * variance + 1e-8f);
    for (int64_t j = 0; j < time; ++j) {
      const float distance = static_cast<float>(j) - mean;
      row[j] = -(distance * distance) / (2 * variance + 1e-9f);
    }
    kernels::unary(kernels::Unary::kExp, row, row, time, 0);
    kernels::axpy(peak, row, weights, time);
  }

  // `positions` are the means [batch, heads, components] of the previous step, and on return those
  // of the last step. Unused, and perhaps null, unless monotonic.
  Sequence attend(Run& run, const Sequence& x, float* positions) const {
    const Source source = this->source(run);
    const float* all_logits = logits(run, x);
    const int64_t components = fields_.components;
    auto* priors = run.scratch<float>(components);
    auto* row = run.scratch<float>(source.time);
    return SourceAttention::attend(run, x, source, [&](int64_t b, int64_t t, float* weights) {
      const float* logit = all_logits + (b * x.time + t) * gaussians() * kLogits;
      for (int64_t n = 0; n < fields_.heads; ++n, weights += source.time) {
        std::fill_n(weights, source.time, 0.0f);
        for (int64_t k = 0; k < components; ++k) priors[k] = logit[k * kLogits];
        kernels::softmax(priors, priors, components);
        for (int64_t k = 0; k < components; ++k, logit += kLogits) {
          float mean = offset(logit[1]);
          if (fields_.monotonic) {
            float& position = positions[(b * fields_.heads + n) * components + k];
            mean = position += mean;
          }
          add_gaussian(priors[k], mean, logit[2], row, weights, source.time);
        }
        const uint8_t* mask = source.item_mask(b);
        for (int64_t j = 0; j < source.time; ++j) weights[j] = mask[j] ? weights[j] : 0;
      }
    });
  }

  void add_gaussian(complex64 prior, complex64 mean, complex64 scale_logit, Wide* weights,
                    int64_t time) const {
    const Wide scale(softplus(scale_logit + fields_.scale_bias)), variance = scale * scale;
    const Wide peak = Wide(prior) * std::sqrt(2 * std::numbers::pi * variance + 1e-8);
    for (int64_t j = 0; j < time; ++j) {
      const Wide distance = static_cast<double>(j) - Wide(mean);
      weights[j] += peak * std::exp(-(distance * distance) / (2.0 * variance + 1e-9));
    }
  }

  // As attend, where x or the source is complex.
  Sequence attend_complex(Run& run, const Sequence& x, complex64* positions) const {
    const Sequence given = ops::mask_invalid(run, run.constants().get(source_name()).sequence);
    const bool has_imaginary = given.dtype == DType::kComplex64;
    const float* source = ops::real_parts(run, given);
    const int64_t components = fields_.components, time = given.time, channels = given.channels[0];
    const int64_t logit_count = x.steps() * gaussians() * kLogits;
    const float* all_logits = logits(run, x);
    const float* imaginary = x.dtype == DType::kComplex64 ? all_logits + logit_count : nullptr;
    const Sequence y = run.output_like(x, {DType::kComplex64, {fields_.heads, channels}});
    auto* logit = run.scratch<complex64>(components, kLogits);
    auto* priors = run.scratch<complex64>(components);
    auto* weights = run.scratch<Wide>(time);
    const Sequence wanted = next_emit(run, x);
    for (int64_t row = 0; row < x.steps() * fields_.heads; ++row) {
      const int64_t b = row / fields_.heads / x.time;
      const int64_t source_item = given.batch == 1 ? 0 : b;
      for (int64_t i = 0; i < components * kLogits; ++i) {
        const int64_t at = row * components * kLogits + i;
        logit[i] = {all_logits[at], imaginary ? imaginary[at] : 0.0f};
      }
      for (int64_t k = 0; k < components; ++k) priors[k] = logit[k * kLogits];
      ops::activate(priors, components, {.over_row = RowFunction::kSoftmax});
      std::fill_n(weights, time, Wide());
      for (int64_t k = 0; k < components; ++k) {
        complex64 mean = offset(logit[k * kLogits + 1]);
        if (fields_.monotonic) {
          const int64_t head = row % fields_.heads;
          mean = positions[(b * fields_.heads + head) * components + k] += mean;
        }
        add_gaussian(priors[k], mean, logit[k * kLogits + 2], weights, time);
      }
      const bool valid = x.mask[row / fields_.heads] != 0;
      for (int64_t j = 0; j < time; ++j) {
        if (!valid || !*given.mask_at(source_item, j)) weights[j] = 0;
      }
      write_weights(weights, time, row, weights_dtype(x.dtype), wanted);
      auto* out = y.as<complex64>() + row * channels;
      for (int64_t c = 0; c < channels; ++c) {
        Wide sum;
        for (int64_t j = 0; j < time; ++j) {
          const int64_t at = (source_item * time + j) * channels + c;
          sum += weights[j] * Wide(source[at], has_imaginary ? source[given.size() + at] : 0.0f);
        }
        out[c] = static_cast<complex64>(sum);
      }
    }
    return y;
  }

  static void write_weights(const Wide* weights, int64_t time, int64_t row, DType dtype,
                            const Sequence& to) {
    if (!to.values) return;
    for (int64_t j = 0; j < time; ++j) {
      const int64_t at = row * time + j;
      if (dtype == DType::kComplex64) {
        to.as<complex64>()[at] = static_cast<complex64>(weights[j]);
      } else {
        to.floats()[at] = static_cast<float>(weights[j].real());
      }
    }
  }

  Fields fields_;
  ops::Linear hidden_;
  std::vector<ops::Linear> output_;  // one for each head
  std::vector<float> bias_;
};

SL_REGISTER_LAYER(GmmAttention);

}  // namespace
}  // namespace sl
