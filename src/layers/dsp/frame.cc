// Frame: y[t, i] = x[t * frame_step + i - pad], of any channel shape and dtype (reference:
// dsp.Frame).
#include "layers/dsp/frame_layer.h"

namespace sl {
namespace {

class Frame final : public FrameLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      window.kernel = config.integer("frame_length", 1);
      window.stride = config.integer("frame_step", 1);
      window.padding =
          ops::read_padding(config, "padding", ops::Padding::kReverseCausalValid, true);
      same_like = config.boolean("explicit_padding_is_same_like", false);
      ends = static_cast<FrameEnds>(config.choice("pad_mode", {"constant", "reflect", "edge"}, 0));
      const ops::Pads pads = window.padding.amounts;
      const bool is_explicit = window.padding.mode == ops::Padding::kExplicit;
      const bool copies = ends != FrameEnds::kZeros;
      if (copies && !is_explicit)
        config.error("pad_mode", "expected \"constant\" unless padding is [before, after]");
      // The reference has no other amounts than those that keep the length.
      if (is_explicit && (copies || pads.before + pads.after != window.kernel - 1))
        window.padding.mode = ops::Padding::kAmounts;
      ops::check_amounts(config, "padding", window);
    }
    ops::Window window;
    bool same_like;
    FrameEnds ends;
  };

  Frame(Fields fields, const Init&)
      : FrameLayer(Framing(fields.window, fields.same_like, fields.ends)) {}

 private:
  std::string early_steps_cure(const EarlySteps& before) const override {
    const bool is_explicit = framing().window().padding.mode == ops::Padding::kExplicit;
    if (is_explicit && framing().history_is_invalid()) return "";
    const std::string cure = FrameLayer::early_steps_cure(before);
    return is_explicit && !cure.empty() ? "\"explicit_padding_is_same_like\": true" : cure;
  }
};

SL_REGISTER_LAYER(Frame);

}  // namespace
}  // namespace sl
