// RDFT: y = RFFT(x) or |RFFT(x)| over the last channel axis (reference: tensorflow dsp.RDFT, which
// multiplies with a matrix).
#include <algorithm>

#include "kernels/complex.h"
#include "layers/builder.h"
#include "layers/dsp/fft_padding.h"
#include "ops/elementwise.h"
#include "ops/fft.h"

namespace sl {
namespace {

class Rdft final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : length(config.integer("dft_length", 1)),
          padding(read_fft_padding(config, "padding")),
          magnitude(config.boolean("output_magnitude", false)) {}
    int64_t length;
    FftPadding padding;
    bool magnitude;
  };

  Rdft(Fields fields, const Init&)
      : padding_(fields.padding), magnitude_(fields.magnitude), fft_(fields.length) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (!is_float(input.dtype) || input.shape.empty()) {
      fail(Code::kShape, "expected floats of channels [..., values], got {}", to_string(input));
    }
    ChannelSpec out{magnitude_ ? DType::kFloat32 : DType::kComplex64, input.shape};
    out.shape.back() = fft_.spectrum_size();
    return out;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, do_output_spec(x.spec(), {}));
    const float* in = ops::as_floats(run, x, DType::kFloat32);
    const int64_t size = x.channels.back(), bins = fft_.spectrum_size(), rows = y.size() / bins;
    const Fit fit(size, fft_.size(), padding_);
    const int64_t floats = fft_.scratch_size() + fft_.size() + 2 * bins;
    const int64_t grain = std::max<int64_t>(1, 4096 / fft_.size());
    run.parallel().count(rows * fft_.flop());
    ops::for_ranges_with_scratch(
        run, rows, grain, floats, [&](int64_t begin, int64_t end, float* scratch) {
          float* fitted = scratch + fft_.scratch_size();
          auto* spectrum = reinterpret_cast<complex64*>(fitted + fft_.size());
          std::fill_n(fitted, fft_.size(), 0.0f);
          for (int64_t row = begin; row < end; ++row) {
            std::copy_n(in + row * size + fit.from, fit.count, fitted + fit.to);
            fft_.forward(fitted, magnitude_ ? spectrum : y.as<complex64>() + row * bins, scratch);
            if (!magnitude_) continue;
            kernels::magnitude(reinterpret_cast<const float*>(spectrum), y.floats() + row * bins,
                               bins);
          }
        });
    return y;
  }

  FftPadding padding_;
  bool magnitude_;
  ops::RealFft fft_;
};

SL_REGISTER_LAYER_AS(RDFT, Rdft);

}  // namespace
}  // namespace sl
