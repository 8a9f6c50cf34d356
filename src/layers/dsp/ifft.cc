// IFFT: y = inverse DFT(x) over a whole channel axis, then padded or truncated to `frame_length`.
// As in the reference, `fft_length` has no effect (reference: dsp.IFFT).
#include "layers/dsp/fft_layer.h"

namespace sl {
namespace {

class InverseFft {
 public:
  using In = complex64;
  using Out = complex64;
  static constexpr bool kHasFrameLength = true;

  InverseFft(const FftFields& fields, int64_t size)
      : length_(fields.frame_length > 0 ? fields.frame_length : size),
        padding_(fields.padding),
        fft_(size) {}

  int64_t output_size() const { return length_; }
  int64_t flop() const { return fft_.flop(); }
  int64_t scratch_size() const { return fft_.scratch_size() + 2 * (fft_.size() + length_); }
  void apply(const complex64* x, complex64* y, float* scratch) const {
    float* own = scratch + fft_.scratch_size();
    auto* result = reinterpret_cast<complex64*>(own);
    fft_.inverse(x, result, scratch);
    own += 2 * fft_.size();
    std::copy_n(fitted<complex64>(result, fft_.size(), length_, padding_, own), length_, y);
  }

 private:
  int64_t length_;
  FftPadding padding_;
  ops::Fft fft_;
};

SL_REGISTER_LAYER_AS(IFFT, FftLayer<InverseFft>);

}  // namespace
}  // namespace sl
