// SqueezeTime: y[t, i] = x[t * factor + i], which stacks `factor` steps on a new first channel
// axis. With padding "causal" the last of the steps is the first of an input block (reference:
// tensorflow squeeze.Squeeze).
#include "layers/dsp/frame_layer.h"

namespace sl {
namespace {

class SqueezeTime final : public FrameLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      window.kernel = window.stride = config.integer("factor", 1);
      const bool causal = config.choice("padding", {"causal", "valid", "reverse_causal"}, 0) == 0;
      window.padding = {causal ? ops::Padding::kCausalValid : ops::Padding::kValid, {}};
    }
    ops::Window window;
  };

  SqueezeTime(Fields fields, const Init&) : FrameLayer(Framing(fields.window)) {}

  std::string step_obstacle() const override {
    return supports_step() ? std::string() : ops::only_causal_steps("padding");
  }

 private:
  StepDifference step_difference(const EarlySteps& before) const override {
    StepDifference difference = FrameLayer::step_difference(before);
    // The cure for other layers is another padding, but no padding of this layer helps.
    if (before.kind == EarlySteps::Kind::kLatency)
      difference.cure = minds_early_steps(before, "").cure;
    return difference;
  }
};

SL_REGISTER_LAYER(SqueezeTime);

}  // namespace
}  // namespace sl
