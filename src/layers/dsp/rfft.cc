// RFFT: y = DFT(x)[0 ... fft_length / 2] over a real channel axis, which is first padded or
// truncated to `fft_length` (reference: dsp.RFFT).
#include "layers/dsp/fft_layer.h"

namespace sl {
namespace {

class RealFft {
 public:
  using In = float;
  using Out = complex64;
  static constexpr bool kHasFrameLength = false;

  RealFft(const FftFields& fields, int64_t size)
      : size_(size),
        padding_(fields.padding),
        fft_(fields.fft_length > 0 ? fields.fft_length : size) {}

  int64_t output_size() const { return fft_.spectrum_size(); }
  int64_t flop() const { return fft_.flop(); }
  int64_t scratch_size() const { return fft_.scratch_size() + fft_.size(); }
  void apply(const float* x, complex64* y, float* scratch) const {
    float* own = scratch + fft_.scratch_size();
    fft_.forward(fitted(x, size_, fft_.size(), padding_, own), y, scratch);
  }

 private:
  int64_t size_;
  FftPadding padding_;
  ops::RealFft fft_;
};

SL_REGISTER_LAYER_AS(RFFT, FftLayer<RealFft>);

}  // namespace
}  // namespace sl
