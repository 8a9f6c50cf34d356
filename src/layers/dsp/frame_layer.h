// Base of Frame and SqueezeTime: copies frames of the input, of any channel shape and dtype.
#pragma once

#include <cstring>

#include "layers/builder.h"
#include "layers/dsp/framing.h"
#include "ops/elementwise.h"

namespace sl {

class FrameLayer : public Layer {
 public:
  int64_t block_size() const override { return framing_.block_size(); }
  Ratio output_ratio() const override { return framing_.output_ratio(); }
  bool supports_step() const override { return framing_.supports_step(); }
  std::string step_obstacle() const override { return framing_.window().step_obstacle("padding"); }
  int64_t input_latency() const override { return framing_.input_latency(); }
  int64_t output_latency() const override { return framing_.output_latency(); }
  ReceptiveFields receptive_field_per_step() const override {
    return framing_.window().receptive_field();
  }

 protected:
  explicit FrameLayer(Framing framing) : framing_(framing) {}

  const Framing& framing() const { return framing_; }
  StepDifference step_difference(const EarlySteps& before) const override {
    const StepDifference difference = window_difference(framing_.window(), before);
    return difference.reason.empty() ? Layer::step_difference(before) : difference;
  }
  std::string early_steps_cure(const EarlySteps& before) const override {
    return window_cure(framing_.window(), before);
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    ChannelSpec out = input;
    out.shape.insert(0, framing_.frame_length());
    return out;
  }
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return framing_.output_length(time);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    framing_.declare(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const int64_t count = framing_.output_length(x.time);
    const Sequence y = run.output(do_output_spec(x.spec(), {}), x.batch, count);
    framing_.layer_mask(x, y);
    const bool valid = x.all_valid();
    const auto floats = static_cast<int64_t>(framing_.buffer_bytes(x) / sizeof(float) + 1);
    ops::for_ranges_with_scratch(run, y.steps(), ops::steps_of_work(y.frame_size()), floats,
                                 [&](int64_t begin, int64_t end, float* scratch) {
                                   for (int64_t i = begin; i < end; ++i) {
                                     const std::byte* const frame =
                                         framing_.frame(x, valid, i / count, i % count,
                                                        reinterpret_cast<std::byte*>(scratch));
                                     std::memcpy(y.frame(0, i), frame, y.frame_bytes());
                                   }
                                 });
    return y;
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const Sequence y =
        run.output(do_output_spec(x.spec(), {}), x.batch, x.time / framing_.block_size());
    const Framing::Frames frames = framing_.step(run, x, y);
    for (int64_t b = 0; b < y.batch; ++b) {
      for (int64_t t = 0; t < y.time; ++t) {
        std::byte* const out = y.frame(b, t);
        const std::byte* const frame = frames.at(b, t, out);
        if (frame != out) std::memcpy(out, frame, y.frame_bytes());
      }
    }
    return y;
  }

  Framing framing_;
};

}  // namespace sl
