// LeakyIntegrator: y[t] = decay y[t - 1] + gain x[t], with a learned gain for each channel. Invalid
// steps count as zero.
#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/builder.h"

namespace sl {
namespace {

class LeakyIntegrator final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config) : decay(static_cast<float>(config.number("decay", 0.9))) {
      if (!(std::abs(decay) < 1)) config.error("decay", "expected a number between -1 and 1");
    }
    float decay;
  };

  LeakyIntegrator(Fields fields, const Init& init)
      : decay_(fields.decay), gain_(init.weights.floats("gain", {kAnySize})) {}

  ReceptiveFields receptive_field_per_step() const override { return {StepRange{-kInfinite, 0}}; }
  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {channels()}};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input != *implied_input()) {
      fail(Code::kShape, "expected {}, got {}", to_string(*implied_input()), to_string(input));
    }
    return input;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.state("last", DType::kFloat32, {input.batch, channels()});
  }

  Sequence do_layer(Run& run, const Sequence& x) const override {
    const int64_t size = x.batch * channels();
    auto* last = run.scratch<float>(size);
    std::fill(last, last + size, 0.0f);
    return integrate(run, x, last);
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    return integrate(run, x, run.state<float>("last"));
  }

  int64_t channels() const { return static_cast<int64_t>(gain_.size()); }

  // `last` [batch, channels] is the output of the step before x, and then of the last step of x.
  Sequence integrate(Run& run, const Sequence& x, float* last) const {
    const Sequence y = run.output_like(x, x.spec());
    const float* in = x.floats();
    float* out = y.floats();
    for (int64_t b = 0; b < x.batch; ++b, last += channels()) {
      for (int64_t t = 0; t < x.time; ++t) {
        const bool valid = *x.mask_at(b, t) != 0;  // invalid steps may hold NaN
        for (int64_t c = 0; c < channels(); ++c) {
          last[c] = decay_ * last[c] + (valid ? gain_[static_cast<size_t>(c)] * *in : 0);
          *out++ = last[c];
          ++in;
        }
      }
    }
    return y;
  }

  float decay_;
  std::vector<float> gain_;
};

SL_REGISTER_LAYER(LeakyIntegrator);

}  // namespace
}  // namespace sl
