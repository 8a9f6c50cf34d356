// Spectrogram: y = |STFT(x)| of a signal without channel axes; samples before the first are zeros
// (reference: tensorflow dsp.Spectrogram).
#include "layers/builder.h"
#include "layers/dsp/stft_layer.h"

namespace sl {
namespace {

class Spectrogram final : public StftLayer {
 public:
  struct Fields : StftFields {
    explicit Fields(Config& config) : StftFields(config) {
      frames.padding.mode = ops::Padding::kCausalValid;
      padding = read_fft_padding(config, "padding");
      magnitude = true;
      // This field chooses how the reference computes and does not change values.
      config.boolean("use_dft_matrix", false);
    }
  };

  Spectrogram(const Fields& fields, const Init&) : StftLayer(fields) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    if (input.shape.rank() != 0) {
      fail(Code::kShape, "expected one value a step (channel shape []), got {}", to_string(input));
    }
    return StftLayer::do_output_spec(input, constants);
  }
};

SL_REGISTER_LAYER(Spectrogram);

}  // namespace
}  // namespace sl
