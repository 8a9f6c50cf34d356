// Upsample1D: y[t] = x[t / rate], which repeats each step `rate` times (reference:
// simple.Upsample1D).
#include "layers/builder.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

class Upsample1D final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : rate(config.integer("rate", 1)) {}
    int64_t rate;
  };

  Upsample1D(Fields fields, const Init&) : rate_(fields.rate) {}

  Ratio output_ratio() const override { return Ratio(rate_); }
  ReceptiveFields receptive_field_per_step() const override {
    return repeated(StepRange{0, 0}, rate_);
  }

 private:
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::repeat_steps(run, x, ops::dense_view(x.channels), x.channels, rate_);
  }

  int64_t rate_;
};

SL_REGISTER_LAYER(Upsample1D);

}  // namespace
}  // namespace sl
