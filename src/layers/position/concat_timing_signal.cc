// ConcatTimingSignal: y[t] = concat(x[t], sinusoids(position of t)) on the last channel axis
// (reference: tensorflow position.ConcatTimingSignal).
#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/builder.h"
#include "layers/position/appended_channels.h"
#include "layers/position/step_counter.h"
#include "ops/timing_signal.h"

namespace sl {
namespace {

class ConcatTimingSignal final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : channels(config.integer("channels", 1, 8)), timescales(config) {
      if (channels > kMaxChannels) {
        config.error("channels", fmt::format("expected at most {}", kMaxChannels));
      }
    }
    static constexpr int64_t kMaxChannels = int64_t{1} << 20;
    int64_t channels;
    ops::Timescales timescales;
  };

  ConcatTimingSignal(Fields fields, const Init&)
      : channels_(fields.channels), frequencies_(frequencies(fields)), counter_(false) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return appended_spec(input, channels_);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    counter_.declare(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override;
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }

  StepDifference step_difference(const EarlySteps& before) const override {
    return counter_.step_difference(before, Layer::step_difference(before), "");
  }
  // Computes exp in double precision, since the exp of TensorFlow is nearly exact.
  static std::vector<float> frequencies(const Fields& fields) {
    std::vector<float> out(static_cast<size_t>(fields.channels / 2));
    const float log = static_cast<float>(std::log(fields.timescales.max / fields.timescales.min));
    const float increment = log / static_cast<float>(std::max<size_t>(out.size(), 2) - 1);
    for (size_t i = 0; i < out.size(); ++i) {
      const double exponent = static_cast<float>(i) * -increment;
      out[i] = static_cast<float>(fields.timescales.min) * static_cast<float>(std::exp(exponent));
    }
    return out;
  }

  int64_t channels_;
  std::vector<float> frequencies_;
  StepCounter counter_;
};

Sequence ConcatTimingSignal::do_layer(Run& run, const Sequence& x) const {
  const Sequence y = run.output_like(x, {x.dtype, with_appended(x.channels, channels_)});
  const Positions positions = counter_.count(run, x);
  auto* signal = run.scratch<float>(positions.max_items, x.time, channels_);
  ops::timing_signal(run, frequencies_.data(), positions.values, positions.items * x.time,
                     channels_, signal);
  append_to_rows(run, x, positions, signal, channels_, y);
  return y;
}

SL_REGISTER_LAYER(ConcatTimingSignal);

}  // namespace
}  // namespace sl
