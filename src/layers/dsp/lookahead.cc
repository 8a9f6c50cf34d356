// Lookahead: y[t] = x[t + length]. Steps cannot drop the first `length` steps and make them invalid
// (reference: dsp.Lookahead).
#include <algorithm>
#include <cstring>

#include "layers/builder.h"

namespace sl {
namespace {

class Lookahead final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : length(config.integer("length", 0)),
          preserve_length(config.boolean("preserve_length_in_layer", false)) {}
    int64_t length;
    bool preserve_length;
  };

  Lookahead(Fields fields, const Init&)
      : length_(fields.length), preserves_length_(fields.preserve_length) {}

  int64_t input_latency() const override { return 0; }
  int64_t output_latency() const override { return length_; }
  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{length_, length_}};
  }
  bool returns_view() const override { return length_ == 0; }

 private:
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return checked_sum(kept(time), preserves_length_ ? length_ : 0);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (length_ == 0 || input.mode != Mode::kStep) return;
    declaration.index("dropped", {input.batch}, 0, length_);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (length_ == 0) return x;
    const int64_t count = kept(x.time);
    const Sequence y =
        run.output(x.spec(), x.batch, do_output_length(x.time, x.spec(), run.constants()));
    std::memset(y.values, 0, y.bytes());
    std::memset(y.mask, 0, static_cast<size_t>(y.steps()));
    for (int64_t b = 0; count > 0 && b < x.batch; ++b) {
      std::memcpy(y.frame(b, 0), x.frame(b, length_), static_cast<size_t>(count) * x.frame_bytes());
      std::memcpy(y.mask_at(b, 0), x.mask_at(b, length_), static_cast<size_t>(count));
    }
    return y;
  }
  // Makes the first `length` valid steps invalid, wherever they are.
  Sequence do_step(Run& run, const Sequence& x) const override {
    if (length_ == 0) return x;
    const auto dropped = run.state<int32_t>("dropped");
    const Sequence y = run.output_like(x, x.spec());
    std::memcpy(y.values, x.values, x.bytes());
    for (int64_t b = 0; b < x.batch; ++b) {
      for (int64_t t = 0; t < x.time; ++t) {
        uint8_t* const valid = y.mask_at(b, t);
        if (!*valid || dropped[b] == length_) continue;
        ++dropped[b];
        *valid = 0;
      }
    }
    return y;
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    if (length_ == 0) return {};
    if (before.kind != EarlySteps::Kind::kLatency)
      return minds_early_steps(before, fmt::format("drops the first {} steps", length_));
    StepDifference out;
    out.reason = fmt::format(
        "its steps drop the first {} valid steps, layer-wise it drops the "
        "first {}, valid or not",
        length_, length_);
    out.cure = "begin sequences with valid steps";
    if (before.valid()) {
      out.cure = before.cure;
    } else if (before.begins_invalid) {
      out.cure = "put the Delay that is before it after it";
    } else {
      out.condition = StepDifference::Condition::kHoles;
    }
    return out;
  }
  int64_t kept(int64_t time) const { return std::max<int64_t>(0, time - length_); }

  int64_t length_;
  bool preserves_length_;
};

SL_REGISTER_LAYER(Lookahead);

}  // namespace
}  // namespace sl
