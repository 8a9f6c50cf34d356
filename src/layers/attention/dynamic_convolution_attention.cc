// DynamicConvolutionAttention: attends to a source by the weights of the previous step, convolved
// with static filters, with filters computed from x, and with a prior that only moves forward
// (Battenberg et al. 2020; reference: tensorflow attention.DynamicConvolutionAttention).
#include <cmath>

#include "kernels/pointwise.h"
#include "kernels/reduce.h"
#include "layers/attention/location_attention.h"
#include "ops/linear.h"

namespace sl {
namespace {

// The score of an invalid step, and the logarithm of a prior below kMinPrior.
constexpr float kMinScore = -1e6f;
// The minimum prior whose logarithm is computed: smaller ones are not normal float32 numbers.
constexpr float kMinPrior = 1.775e-38f;
// Maximum of max_forward_step, more than any source has steps.
constexpr int64_t kMaxForward = int64_t{1} << 20;

// The beta-binomial distribution of 0 ... n in reverse order, since the first tap of a filter reads
// the weight n steps before.
std::vector<float> prior_filter(int64_t n, double alpha, double beta) {
  const auto log_beta = [](double a, double b) {
    return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b);
  };
  std::vector<float> out;
  for (int64_t k = n; k >= 0; --k) {
    const auto of = static_cast<double>(n), at = static_cast<double>(k);
    const double log_binomial =
        std::lgamma(of + 1) - std::lgamma(at + 1) - std::lgamma(of - at + 1);
    out.push_back(static_cast<float>(
        std::exp(log_binomial + log_beta(at + alpha, of - at + beta) - log_beta(alpha, beta))));
  }
  return out;
}

class DynamicConvolutionAttention final : public LocationAttention {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : source(read_source_name(config)),
          forward(config.integer("max_forward_step", 0)),
          alpha(config.number("prior_alpha")),
          beta(config.number("prior_beta")),
          static_filters(config.integer("num_static_filters", 1)),
          dynamic_filters(config.integer("num_dynamic_filters", 1)),
          hidden(config.integer("dynamic_filter_hidden_dim", 1)) {
      if (forward > kMaxForward)
        config.error("max_forward_step", fmt::format("expected at most {}", kMaxForward));
      if (!(alpha > 0) || !std::isfinite(alpha))
        config.error("prior_alpha", "expected a number above 0");
      if (!(beta > 0) || !std::isfinite(beta))
        config.error("prior_beta", "expected a number above 0");
    }

    int64_t taps() const { return 2 * forward + 1; }

    std::string source;
    int64_t forward;
    double alpha, beta;
    int64_t static_filters, dynamic_filters, hidden;
  };

  DynamicConvolutionAttention(Fields fields, const Init& init)
      : LocationAttention(fields.source, 1, 1),
        fields_(std::move(fields)),
        prior_(prior_filter(fields_.forward, fields_.alpha, fields_.beta)),
        static_(read_static(init.weights)),
        static_bias_(
            init.weights.child("static_location_filters").floats("bias", {fields_.static_filters})),
        hidden_(read_hidden(init.weights)),
        hidden_bias_(init.weights.child(kHidden).floats("bias", {fields_.hidden})),
        dynamic_(read_dynamic(init.weights)),
        dynamic_bias_(init.weights.child(kDynamic).floats(
            "bias", {fields_.taps() + 1, 1, fields_.dynamic_filters})),
        v_(init.weights.child("v").floats("kernel",
                                          {fields_.dynamic_filters + fields_.static_filters, 1})),
        v_bias_(init.weights.child("v").floats("bias", {1})[0]) {}

 private:
  static constexpr const char* kHidden = "dynamic_location_filters_einsum_dense0";
  static constexpr const char* kDynamic = "dynamic_location_filters_einsum_dense1";

  Shape location_shape(int64_t batch, int64_t time) const override { return {batch, time}; }
  int64_t inputs() const override { return hidden_.inputs(); }

  ops::Linear read_static(const WeightScope& weights) const {
    return weights.child("static_location_filters")
        .matrix("kernel", {fields_.taps(), 1, fields_.static_filters}, {.input_axes = 2});
  }
  ops::Linear read_hidden(const WeightScope& weights) const {
    return weights.child(kHidden).matrix("kernel", {kAnySize, fields_.hidden});
  }
  ops::Linear read_dynamic(const WeightScope& weights) const {
    return weights.child(kDynamic).matrix(
        "kernel", {1, fields_.hidden, fields_.taps() + 1, 1, fields_.dynamic_filters},
        {.input_axes = 2});
  }

  // The dynamic filters of each step, the bias before the taps: [steps, taps + 1, filters].
  const float* filters(Run& run, const Sequence& x) const {
    auto* hidden = run.scratch<float>(x.steps(), fields_.hidden);
    run.parallel().count(x.steps() * (fields_.hidden + dynamic_.outputs()));  // the biases
    hidden_.apply(run, masked(run, x), inputs(), x.steps(), hidden_bias_.data(), false, hidden,
                  fields_.hidden);
    kernels::unary(kernels::Unary::kTanh, hidden, hidden, x.steps() * fields_.hidden, 0);
    auto* out = run.scratch<float>(x.steps(), dynamic_.outputs());
    dynamic_.apply(run, hidden, fields_.hidden, x.steps(), dynamic_bias_.data(), false, out,
                   dynamic_.outputs());
    return out;
  }

  // The score of one step of the source. `window` has the previous weights around it.
  float score(const float* window, const float* filters, float* features) const {
    const int64_t count = fields_.dynamic_filters;
    std::copy_n(filters, count, features);
    for (int64_t i = 0; i < fields_.taps(); ++i)
      kernels::axpy(window[i], filters + (i + 1) * count, features, count);
    const auto all = static_cast<int64_t>(v_.size());
    kernels::unary(kernels::Unary::kTanh, features, features, all, 0);
    const float prior = kernels::dot(window, prior_.data(), fields_.forward + 1);
    const float log_prior = prior < kMinPrior ? kMinScore : std::log(prior);
    return kernels::dot(features, v_.data(), all) + v_bias_ + log_prior;
  }

  Sequence look(Run& run, const Sequence& x, float* location) const override {
    const Source source = this->source(run);
    const int64_t time = source.time;
    const float* all_filters = filters(run, x);
    const int64_t padded_time = time + 2 * fields_.forward;
    auto* padded = run.scratch<float>(padded_time);
    std::fill_n(padded, padded_time, 0.0f);
    // Features of each step of the source, the dynamic ones before the static ones.
    const auto width = static_cast<int64_t>(v_.size());
    auto* features = run.scratch<float>(time, width);
    return attend(run, x, source, [&](int64_t b, int64_t t, float* weights) {
      std::copy_n(location + b * time, time, padded + fields_.forward);
      run.parallel().count(time * static_.outputs());  // the bias
      static_.apply(run, padded, 1, time, static_bias_.data(), false,
                    features + fields_.dynamic_filters, width);
      const float* made = all_filters + (b * x.time + t) * dynamic_.outputs();
      const uint8_t* mask = source.item_mask(b);
      for (int64_t j = 0; j < time; ++j)
        weights[j] = mask[j] ? score(padded + j, made, features + j * width) : kMinScore;
      if (time > 0) kernels::softmax(weights, weights, time);
      std::copy_n(weights, time, location + b * time);
    });
  }

  Fields fields_;
  std::vector<float> prior_;
  ops::Linear static_;
  std::vector<float> static_bias_;
  ops::Linear hidden_;
  std::vector<float> hidden_bias_;
  ops::Linear dynamic_;
  std::vector<float> dynamic_bias_;
  std::vector<float> v_;  // for the dynamic features, then for the static ones
  float v_bias_;
};

SL_REGISTER_LAYER(DynamicConvolutionAttention);

}  // namespace
}  // namespace sl
