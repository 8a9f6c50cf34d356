// Downsample1D: y[t] = x[t * rate] (reference: simple.Downsample1D).
#include <cstring>

#include "layers/builder.h"

namespace sl {
namespace {

class Downsample1D final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : rate(config.integer("rate", 1)) {}
    int64_t rate;
  };

  Downsample1D(Fields fields, const Init&) : rate_(fields.rate) {}

  int64_t block_size() const override { return rate_; }
  Ratio output_ratio() const override { return Ratio(1, rate_); }
  int64_t input_latency() const override { return rate_ - 1; }

 private:
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return ceil_div(time, rate_);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output(x.spec(), x.batch, ceil_div(x.time, rate_));
    for (int64_t b = 0; b < y.batch; ++b) {
      for (int64_t t = 0; t < y.time; ++t) {
        std::memcpy(y.frame(b, t), x.frame(b, t * rate_), x.frame_bytes());
        *y.mask_at(b, t) = *x.mask_at(b, t * rate_);
      }
    }
    return y;
  }

  int64_t rate_;
};

SL_REGISTER_LAYER(Downsample1D);

}  // namespace
}  // namespace sl
