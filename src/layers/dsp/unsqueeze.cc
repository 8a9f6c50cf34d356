// Unsqueeze: y[t * factor + i] = x[t, i], which splits the first channel axis into steps
// (reference: tensorflow squeeze.Unsqueeze).
#include <cstring>

#include "layers/builder.h"

namespace sl {
namespace {

class Unsqueeze final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : factor(config.integer("factor", 1)) {}
    int64_t factor;
  };

  Unsqueeze(Fields fields, const Init&) : factor_(fields.factor) {}

  Ratio output_ratio() const override { return Ratio(factor_); }
  ReceptiveFields receptive_field_per_step() const override {
    return repeated(StepRange{0, 0}, factor_);
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.empty() || input.shape[0] != factor_) {
      fail(Code::kShape, "expected channels [{}, ...], got {}", factor_, to_string(input.shape));
    }
    return {input.dtype, input.shape.slice(1, input.shape.rank())};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output(do_output_spec(x.spec(), {}), x.batch, x.time * factor_);
    if (x.bytes() > 0) std::memcpy(y.values, x.values, x.bytes());
    for (int64_t i = 0; i < x.steps(); ++i) {
      std::memset(y.mask + i * factor_, x.mask[i], static_cast<size_t>(factor_));
    }
    return y;
  }

  int64_t factor_;
};

SL_REGISTER_LAYER(Unsqueeze);

}  // namespace
}  // namespace sl
