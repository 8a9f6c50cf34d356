// STFT: y[t] = RFFT(window * frame t of x) [fft_length / 2 + 1, C...] for x [C...], separately for
// each channel (reference: dsp.STFT).
#include "layers/builder.h"
#include "layers/dsp/stft_layer.h"

namespace sl {
namespace {

class STFT final : public StftLayer {
 public:
  struct Fields : StftFields {
    explicit Fields(Config& config) : StftFields(config) {
      frames.padding =
          ops::read_time_padding(config, "time_padding", ops::Padding::kReverseCausalValid);
      ops::check_amounts(config, "time_padding", frames);
      mirrors = config.choice("pad_mode", {"constant", "reflect"}, 0) == 1;
      if (mirrors && !frames.is_by_amounts())
        config.error("pad_mode", "expected \"constant\" unless time_padding is [before, after]");
      padding = read_fft_padding(config, "fft_padding");
      magnitude = config.boolean("output_magnitude", false);
    }
  };

  STFT(const Fields& fields, const Init&) : StftLayer(fields) {}
};

SL_REGISTER_LAYER(STFT);

}  // namespace
}  // namespace sl
