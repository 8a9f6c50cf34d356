// Diagonal structured state spaces (Gu et al. 2022, S4D): each channel has a system of its own with
// A = -exp(log_neg_lambda_re) + i lambda_im and B = 1. Every stored value stands for a
// conjugate pair: y = 2 Re(c . x) + d u.
#include "layers/ssm/channel_bank.h"
#include "layers/ssm/discretization.h"
#include "layers/ssm/state_space_layer.h"

namespace sl {
namespace {

class S4D final : public StateSpaceLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : state_size(config.integer("state_size", 2, 64)), method(discretization(config)) {
      if (state_size % 2 != 0) config.error("state_size", "must be even");
    }

    int64_t state_size;
    Discretization method;
  };

  S4D(Fields fields, const Init& init)
      : StateSpaceLayer(channels_of(init.weights)), bank_(make_bank(fields, init.weights)) {}

 private:
  Shape state_shape(int64_t batch) const override { return bank_.state_shape(batch); }

  void scan(Run& run, const Sequence& x, float* state, const Sequence& y) const override {
    bank_.scan(run, x, state, y);
  }

  ChannelBank make_bank(const Fields& fields, const WeightScope& weights) const {
    const int64_t pairs = fields.state_size / 2;
    const Shape shape{channels(), pairs};
    const std::vector<float> re = weights.floats("log_neg_lambda_re", shape);
    const std::vector<float> im = weights.floats("lambda_im", shape);
    const std::vector<complex128> c = complex_weights(weights, "c", shape);
    const std::vector<float> log_step = weights.floats("log_step", {channels()});
    ChannelBank bank(pairs, false, weights.floats("d", {channels()}));
    for (int64_t h = 0; h < channels(); ++h) {
      const double step = std::exp(static_cast<double>(log_step[static_cast<size_t>(h)]));
      ChannelBank::System system;
      for (size_t i = static_cast<size_t>(h * pairs); i < static_cast<size_t>((h + 1) * pairs);
           ++i) {
        const complex128 lambda(-std::exp(static_cast<double>(re[i])), im[i]);
        const auto [a, b] = discretize(lambda, step, fields.method);
        system.a.push_back(a);
        // The input is not scaled; its factor b is applied at the output instead.
        system.c.push_back(2.0 * b * c[i]);
      }
      bank.set(h, system);
    }
    return bank;
  }

  ChannelBank bank_;
};

SL_REGISTER_LAYER(S4D);

}  // namespace
}  // namespace sl
