// GmmAttention: attends to a source with weights from a mixture of Gaussians over its steps, whose
// parameters are computed from x. If monotonic, the means only move forward (reference:
// attention.GmmAttention).
#include <cmath>
#include <numbers>

#include "kernels/pointwise.h"
#include "kernels/reduce.h"
#include "layers/attention/source_attention.h"
#include "ops/linear.h"
#include "ops/softplus.h"

namespace sl {
namespace {

float softplus(float x) { return ops::softplus(x, DType::kFloat32); }

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
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (fields_.monotonic && input.mode == Mode::kStep) {
      declaration.state("position", DType::kFloat32,
                        {input.batch, fields_.heads, fields_.components});
    }
    declare_emit(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const int64_t count = fields_.monotonic ? x.batch * gaussians() : 0;
    auto* positions = run.scratch<float>(count);
    std::fill_n(positions, count, 0.0f);
    return attend(run, x, positions);
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    return attend(run, x, fields_.monotonic ? run.state<float>("position") : nullptr);
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    if (!fields_.monotonic) return SourceAttention::step_difference(before);
    return minds_early_steps(before, "advances on invalid steps too");
  }

  // The number of logits of a Gaussian: prior, offset and scale.
  static constexpr int64_t kLogits = 3;

  int64_t inputs() const override { return hidden_.inputs(); }
  int64_t gaussians() const { return fields_.heads * fields_.components; }

  ops::Linear read_hidden(const WeightScope& weights) const {
    const Tensor kernel =
        weights.child("hidden").get("kernel", {kAnySize, fields_.heads, fields_.units});
    const int64_t outputs = fields_.heads * fields_.units;
    return ops::Linear(to_floats(kernel).data(), outputs, 1, kernel.shape[0], outputs);
  }

  std::vector<ops::Linear> read_output(const WeightScope& weights) const {
    const std::vector<float> kernel = weights.child("output").floats(
        "kernel", {fields_.heads, fields_.units, fields_.components, kLogits});
    const int64_t outputs = fields_.components * kLogits;
    std::vector<ops::Linear> out;
    for (int64_t n = 0; n < fields_.heads; ++n) {
      out.emplace_back(kernel.data() + n * fields_.units * outputs, outputs, 1, fields_.units,
                       outputs);
    }
    return out;
  }

  // Computes the logits [steps, heads, components, kLogits] from x.
  const float* logits(Run& run, const Sequence& x) const {
    const int64_t width = hidden_.outputs(), outputs = fields_.components * kLogits;
    const float* values = ops::as_floats(run, ops::finite_where_invalid(run, x), DType::kFloat32);
    auto* hidden = run.scratch<float>(x.steps(), width);
    hidden_.apply(run, values, hidden_.inputs(), x.steps(), nullptr, false, hidden, width);
    kernels::unary(kernels::Unary::kRelu, hidden, hidden, x.steps() * width, 0);
    auto* out = run.scratch<float>(x.steps(), gaussians(), kLogits);
    for (int64_t n = 0; n < fields_.heads; ++n) {
      output_[static_cast<size_t>(n)].apply(run, hidden + n * fields_.units, width, x.steps(),
                                            fields_.use_bias ? bias_.data() + n * outputs : nullptr,
                                            false, out + n * outputs, gaussians() * kLogits);
    }
    return out;
  }

  float offset(float logit) const {
    const float x = logit + fields_.offset_bias;
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

  Fields fields_;
  ops::Linear hidden_;
  std::vector<ops::Linear> output_;  // one for each head
  std::vector<float> bias_;
};

SL_REGISTER_LAYER(GmmAttention);

}  // namespace
}  // namespace sl
