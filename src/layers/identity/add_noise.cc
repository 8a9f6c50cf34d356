// AddNoise: the identity at inference if `training_only`. Otherwise y = x + noise, which is
// supported only for noise without spread, a constant (reference: simple.AddNoise).
#include <optional>
#include <string>

#include "layers/builder.h"
#include "ops/broadcast.h"

namespace sl {
namespace {

class AddNoise final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      Config sampler = config.nested_required("sampler");
      const std::optional<float> constant = read_sampler(sampler);
      const bool training_only = config.boolean("training_only");
      config.ignore({"rng_collection"});
      if (training_only) return;
      if (!constant) {
        config.error("training_only",
                     "false is not supported: noise at inference would make the model random");
      }
      noise.emplace();
      noise->values = {*constant};
    }
    std::optional<Array> noise;
  };

  AddNoise(Fields fields, const Init&) {
    if (fields.noise) noise_.emplace(*fields.noise);
  }

  bool returns_view() const override { return !noise_; }

 private:
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (!noise_) return x;
    return ops::broadcast_binary(run, ops::Arithmetic::kAdd, x, *noise_);
  }

  // Reads the distribution; returns its value if it has only one.
  static std::optional<float> read_sampler(Config& config) {
    const bool uniform = config.type() == "AddNoise.Uniform";
    if (!uniform && config.type() != "AddNoise.Normal" &&
        config.type() != "AddNoise.TruncatedNormal") {
      config.error("type",
                   "expected AddNoise.Uniform, AddNoise.Normal or AddNoise.TruncatedNormal");
    }
    const double middle = config.number(uniform ? "minval" : "mean");
    const double spread = config.number(uniform ? "maxval" : "stddev");
    config.finish();
    const bool is_constant = uniform ? spread == middle : spread == 0;
    return is_constant ? std::optional<float>(static_cast<float>(middle)) : std::nullopt;
  }

  std::optional<ops::BroadcastOperand> noise_;
};

SL_REGISTER_LAYER(AddNoise);

}  // namespace
}  // namespace sl
