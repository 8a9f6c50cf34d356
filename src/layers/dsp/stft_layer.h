// Base of STFT and Spectrogram: takes frames, windows and transforms them one by one (reference:
// dsp.STFT).
#pragma once

#include <cstdint>
#include <vector>

#include "layers/dsp/fft_padding.h"
#include "layers/dsp/framing.h"
#include "layers/dsp/window_function.h"
#include "ops/fft.h"

namespace sl {

struct StftFields {
  // Reads the fields that both layers have.
  explicit StftFields(Config& config);

  ops::Window frames;
  int64_t fft_length;
  WindowFunction window;
  FftPadding padding = FftPadding::kRight;
  bool magnitude = false;
  bool mirrors = false;  // whether frames mirror steps beyond the ends
};

class StftLayer : public Layer {
 public:
  explicit StftLayer(const StftFields& fields);

  int64_t block_size() const final { return framing_.block_size(); }
  Ratio output_ratio() const final { return framing_.output_ratio(); }
  bool supports_step() const final { return framing_.supports_step(); }
  std::string step_obstacle() const final {
    return framing_.window().step_obstacle("time_padding");
  }
  int64_t input_latency() const final { return framing_.input_latency(); }
  int64_t output_latency() const final {
    return framing_.window().is_by_amounts() ? framing_.output_latency() : Layer::output_latency();
  }
  ReceptiveFields receptive_field_per_step() const final;
  InPieces in_pieces() const final { return InPieces::kAnywhere; }

 protected:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override;

 private:
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const final {
    return framing_.output_length(time);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final {
    framing_.declare(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;
  Sequence do_piece(Run& run, const Sequence& x, int64_t b, int64_t begin, int64_t end) const final;

  // The transforms of y's frames, with their windows.
  void count_transforms(const Run& run, const Sequence& x, const Sequence& y) const;
  StepDifference step_difference(const EarlySteps& before) const final {
    const StepDifference difference = window_difference(framing_.window(), before);
    return difference.reason.empty() ? Layer::step_difference(before) : difference;
  }
  std::string early_steps_cure(const EarlySteps& before) const final {
    return window_cure(framing_.window(), before);
  }
  // Scratch of transforms alone, and together with a frame that is copied.
  int64_t scratch_size() const;
  int64_t scratch_with_frame(const Sequence& x) const;
  // Transforms frames [begin, end) of item b of x, of which all steps are valid or not, to y.
  void transform_frames(const Sequence& x, bool valid, int64_t b, int64_t begin, int64_t end,
                        std::byte* y, float* scratch) const;
  void clear_padding(float* scratch) const;
  // Transforms all channels of one frame.
  void transform(const std::byte* frame, const ChannelSpec& input, std::byte* y,
                 float* scratch) const;
  void window_channel(const std::byte* frame, DType dtype, int64_t channel, int64_t channels,
                      float* out) const;

  Framing framing_;
  ops::RealFft fft_;
  Fit fit_;
  std::vector<float> window_;  // over the transformed part of a frame; empty: no window
  bool magnitude_;
};

}  // namespace sl
