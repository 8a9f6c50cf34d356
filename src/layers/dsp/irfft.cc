// IRFFT: y = inverse RFFT(x) with `fft_length` values, by default 2 (size of the axis - 1), then
// padded or truncated to `frame_length` (reference: dsp.IRFFT).
#include "layers/dsp/fft_layer.h"

namespace sl {
namespace {

class InverseRealFft {
 public:
  using In = complex64;
  using Out = float;
  static constexpr bool kHasFrameLength = true;

  InverseRealFft(const FftFields& fields, int64_t size)
      : size_(size),
        padding_(fields.padding),
        fft_(fields.fft_length > 0 ? fields.fft_length : 2 * (size - 1)),
        length_(fields.frame_length > 0 ? fields.frame_length : fft_.size()) {}

  int64_t output_size() const { return length_; }
  int64_t flop() const { return fft_.flop(); }
  int64_t scratch_size() const {
    return fft_.scratch_size() + 2 * fft_.spectrum_size() + fft_.size() + length_;
  }
  void apply(const complex64* x, float* y, float* scratch) const {
    const int64_t bins = fft_.spectrum_size();
    float* own = scratch + fft_.scratch_size();
    // The padding mode does not apply to bins, which are always padded and truncated at their end.
    const complex64* spectrum = size_ >= bins ? x : fitted(x, size_, bins, FftPadding::kRight, own);
    own += 2 * bins;
    fft_.inverse(spectrum, own, scratch);
    const float* result = own;
    std::copy_n(fitted(result, fft_.size(), length_, padding_, own + fft_.size()), length_, y);
  }

 private:
  int64_t size_;
  FftPadding padding_;
  ops::RealFft fft_;
  int64_t length_;
};

SL_REGISTER_LAYER_AS(IRFFT, FftLayer<InverseRealFft>);

}  // namespace
}  // namespace sl
