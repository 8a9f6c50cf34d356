// Simplified structured state spaces (Smith et al. 2023, S5): one diagonal state for all channels,
// whose values each have their own step size. With conj_sym each value stands for a conjugate pair.
#include "layers/ssm/shared_diagonal.h"

namespace sl {
namespace {

class S5 final : public SharedDiagonal {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : state_size(config.integer("state_size", 1, 64)),
          method(discretization(config)),
          conj_sym(config.boolean("conj_sym", true)) {}

    int64_t state_size;
    Discretization method;
    bool conj_sym;
  };

  S5(Fields fields, const Init& init) : SharedDiagonal(system(fields, init.weights)) {}

 private:
  static SharedSystem system(const Fields& fields, const WeightScope& weights) {
    const int64_t n = fields.state_size, channels = channels_of(weights);
    const std::vector<float> re = weights.floats("lambda_re", {n});
    const std::vector<float> im = weights.floats("lambda_im", {n});
    const std::vector<float> log_step = weights.floats("log_step", {n, 1});
    SharedSystem out{{},
                     complex_weights(weights, "b", {n, channels}),
                     complex_weights(weights, "c", {channels, n}),
                     weights.floats("d", {channels})};
    for (size_t i = 0; i < re.size(); ++i) {
      const auto [a, scale] = discretize(complex128(re[i], im[i]),
                                         std::exp(static_cast<double>(log_step[i])), fields.method);
      out.a.push_back(a);
      for (size_t h = 0; h < out.d.size(); ++h) out.b[i * out.d.size() + h] *= scale;
    }
    if (fields.conj_sym) {
      for (complex128& c : out.c) c *= 2.0;
    }
    return out;
  }
};

SL_REGISTER_LAYER(S5);

}  // namespace
}  // namespace sl
