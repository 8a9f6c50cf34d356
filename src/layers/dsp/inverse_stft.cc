// InverseSTFT: y = overlap_add(window * IRFFT(x[t])) for spectra x [fft_length / 2 + 1, C...],
// which computes and adds one frame at a time (reference: dsp.InverseSTFT).
#include <algorithm>

#include "kernels/pointwise.h"
#include "layers/builder.h"
#include "layers/dsp/fft_padding.h"
#include "layers/dsp/overlap_adding.h"
#include "layers/dsp/window_function.h"
#include "ops/fft.h"

namespace sl {
namespace {

class InverseSTFT final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : adding(config, "time_padding", ops::Padding::kCausal),
          fft_length(config.integer("fft_length", 1)),
          window(read_window(config, "window_fn", true)),
          padding(read_fft_padding(config, "fft_padding")) {}
    OverlapAdding adding;
    int64_t fft_length;
    WindowFunction window;
    FftPadding padding;
  };

  InverseSTFT(const Fields& fields, const Init&)
      : adding_(fields.adding),
        fft_(fields.fft_length),
        fit_(fields.fft_length, fields.adding.frame_length(), fields.padding),
        window_(static_cast<size_t>(adding_.frame_length())) {
    std::vector<double> window(window_.size(), 1.0), seen = window;
    if (fields.window) {
      window = fields.window(adding_.frame_length(), DType::kFloat32);
      // As in the reference, the receptive field is computed from the window in integers.
      seen = fields.window(adding_.frame_length(), DType::kInt32);
    }
    // Where a frame is longer than the transform it is zero, and so is the window here.
    for (auto i = static_cast<size_t>(fit_.to); i < static_cast<size_t>(fit_.to + fit_.count);
         ++i) {
      window_[i] = static_cast<float>(window[i]);
    }
    receptive_field_ = adding_.receptive_field([&](int64_t value) {
      return value >= fit_.to && value < fit_.to + fit_.count &&
             seen[static_cast<size_t>(value)] != 0;
    });
  }

  Ratio output_ratio() const override { return adding_.output_ratio(); }
  bool supports_step() const override { return adding_.supports_step(); }
  std::string step_obstacle() const override { return adding_.step_obstacle("time_padding"); }
  ReceptiveFields receptive_field_per_step() const override { return receptive_field_; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.dtype != DType::kComplex64 || input.shape.empty() || input.shape[0] == 0) {
      fail(Code::kShape, "expected spectra, complex64[{}, ...], got {}", fft_.spectrum_size(),
           to_string(input));
    }
    return {DType::kFloat32, input.shape.slice(1, input.shape.rank())};
  }
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return adding_.output_length(time);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    adding_.declare(declaration, input, do_output_spec(input.channels, {}));
  }
  Sequence do_layer(Run& run, const Sequence& x) const override;
  Sequence do_step(Run& run, const Sequence& x) const override;

  // Scratch for the transform, its input and its output.
  int64_t scratch_size() const {
    return fft_.scratch_size() + 2 * fft_.spectrum_size() + fft_.size();
  }
  auto frames_of(const Sequence& x, const ChannelSpec& out) const {
    return [this, &x, channels = out.shape.size()](int64_t b, int64_t t, float* frame,
                                                   float* scratch) -> const float* {
      const auto* spectra = reinterpret_cast<const complex64*>(x.frame(b, t));
      for (int64_t c = 0; c < channels; ++c) {
        make_frame(spectra + c, x.channels[0], channels, frame + c, scratch);
      }
      return frame;
    };
  }
  // Computes one channel of a frame. Bins that the spectrum lacks are zero.
  void make_frame(const complex64* x, int64_t bins, int64_t channels, float* frame,
                  float* scratch) const {
    float* own = scratch + fft_.scratch_size();
    const complex64* spectrum = x;
    if (channels > 1 || bins < fft_.spectrum_size()) {
      auto* copied = reinterpret_cast<complex64*>(own);
      for (int64_t k = 0; k < fft_.spectrum_size(); ++k) {
        copied[k] = k < bins ? x[k * channels] : complex64();
      }
      spectrum = copied;
    }
    float* values = own + 2 * fft_.spectrum_size();
    fft_.inverse(spectrum, values, scratch);
    const float* from = values + fit_.from;
    if (channels == 1) {
      std::fill_n(frame, fit_.to, 0.0f);
      std::fill(frame + fit_.to + fit_.count, frame + adding_.frame_length(), 0.0f);
      kernels::binary(kernels::Binary::kMultiply, from, window_.data() + fit_.to, frame + fit_.to,
                      fit_.count);
      return;
    }
    for (int64_t i = 0; i < adding_.frame_length(); ++i) {
      const bool inside = i >= fit_.to && i < fit_.to + fit_.count;
      frame[i * channels] = inside ? from[i - fit_.to] * window_[static_cast<size_t>(i)] : 0.0f;
    }
  }

  OverlapAdding adding_;
  ops::RealFft fft_;
  Fit fit_;
  std::vector<float> window_;
  ReceptiveFields receptive_field_;
};

Sequence InverseSTFT::do_layer(Run& run, const Sequence& x) const {
  const ChannelSpec out = do_output_spec(x.spec(), {});
  run.parallel().count(x.steps() * out.shape.size() * (fft_.flop() + 2 * fft_.size()));
  return adding_.layer<float>(run, x, out, scratch_size(), frames_of(x, out));
}

Sequence InverseSTFT::do_step(Run& run, const Sequence& x) const {
  const ChannelSpec out = do_output_spec(x.spec(), {});
  run.parallel().count(x.steps() * out.shape.size() * (fft_.flop() + 2 * fft_.size()));
  return adding_.step<float>(run, x, out, scratch_size(), frames_of(x, out));
}

SL_REGISTER_LAYER(InverseSTFT);

}  // namespace
}  // namespace sl
