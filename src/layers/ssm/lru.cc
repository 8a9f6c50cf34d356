// Linear recurrent unit (Orvieto et al. 2023): x = lambda x + exp(gamma_log) (B u), with lambda =
// exp(-exp(nu_log) + i exp(theta_log)), and y = Re(C x) + d u.
#include "layers/ssm/shared_diagonal.h"

namespace sl {
namespace {

class Lru final : public SharedDiagonal {
 public:
  struct Fields {
    explicit Fields(Config& config) : state_size(config.integer("state_size", 1)) {}

    int64_t state_size;
  };

  Lru(Fields fields, const Init& init) : SharedDiagonal(system(fields.state_size, init.weights)) {}

 private:
  static std::vector<complex128> joined(const std::vector<float>& re,
                                        const std::vector<float>& im) {
    std::vector<complex128> out(re.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = {re[i], im[i]};
    return out;
  }

  static SharedSystem system(int64_t n, const WeightScope& weights) {
    const int64_t channels = channels_of(weights);
    const Shape in{n, channels}, out{channels, n};
    SharedSystem made{{},
                      joined(weights.floats("b_re", in), weights.floats("b_im", in)),
                      joined(weights.floats("c_re", out), weights.floats("c_im", out)),
                      weights.floats("d", {channels})};
    const std::vector<float> nu = weights.floats("nu_log", {n});
    const std::vector<float> theta = weights.floats("theta_log", {n});
    const std::vector<float> gamma = weights.floats("gamma_log", {n});
    for (size_t i = 0; i < nu.size(); ++i) {
      made.a.push_back(std::exp(complex128(-std::exp(static_cast<double>(nu[i])),
                                           std::exp(static_cast<double>(theta[i])))));
      const double scale = std::exp(static_cast<double>(gamma[i]));
      for (size_t h = 0; h < made.d.size(); ++h) made.b[i * made.d.size() + h] *= scale;
    }
    return made;
  }
};

SL_REGISTER_LAYER_AS(LRU, Lru);

}  // namespace
}  // namespace sl
