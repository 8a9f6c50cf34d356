#include "layers/dsp/stft_layer.h"

#include <algorithm>

#include "kernels/complex.h"
#include "kernels/pointwise.h"
#include "ops/elementwise.h"

namespace sl {

StftFields::StftFields(Config& config)
    : fft_length(config.integer("fft_length", 1)), window(read_window(config, "window_fn", true)) {
  frames.kernel = config.integer("frame_length", 1);
  frames.stride = config.integer("frame_step", 1);
  constexpr int64_t kMax = int64_t{1} << 24;
  if (frames.kernel > kMax) {
    config.error("frame_length", fmt::format("expected at most {}", kMax));
  }
}

StftLayer::StftLayer(const StftFields& fields)
    : framing_(fields.frames, false, fields.mirrors ? FrameEnds::kReflect : FrameEnds::kZeros),
      fft_(fields.fft_length),
      fit_(fields.frames.kernel, fields.fft_length, fields.padding),
      magnitude_(fields.magnitude) {
  if (!fields.window) return;
  const std::vector<double> window = fields.window(fields.frames.kernel, DType::kFloat32);
  for (int64_t i = 0; i < fit_.count; ++i) {
    window_.push_back(static_cast<float>(window[static_cast<size_t>(fit_.from + i)]));
  }
}

// The receptive field leaves out the ends of a frame that are truncated or where the window is
// zero.
ReceptiveFields StftLayer::receptive_field_per_step() const {
  if (framing_.copies_ends()) return framing_.window().receptive_field();
  const StepRange frame = *framing_.window().receptive_field()[0];
  int64_t first = 0, end = fit_.count;
  const auto is_zero = [&](int64_t i) {
    return !window_.empty() && !(window_[static_cast<size_t>(i)] > 0);
  };
  while (first < end && is_zero(first)) ++first;
  while (first < end && is_zero(end - 1)) --end;
  if (first == end) return {StepRange{kInfinite, -kInfinite}};
  const int64_t start = frame.start + fit_.from;
  return {StepRange{start + first, start + end - 1}};
}

ChannelSpec StftLayer::do_output_spec(const ChannelSpec& input, const Constants&) const {
  if (!is_float(input.dtype)) {
    fail(Code::kShape, "expected a float dtype, got {}", name_of(input.dtype));
  }
  ChannelSpec out{magnitude_ ? DType::kFloat32 : DType::kComplex64, input.shape};
  out.shape.insert(0, fft_.spectrum_size());
  return out;
}

// Scratch for the transform, its padded input, its output and the magnitudes.
int64_t StftLayer::scratch_size() const {
  return fft_.scratch_size() + fft_.size() + 3 * fft_.spectrum_size();
}

int64_t StftLayer::scratch_with_frame(const Sequence& x) const {
  const size_t floats = framing_.buffer_bytes(x) / sizeof(float) + 1;
  return checked_sum(scratch_size(), static_cast<int64_t>(floats));
}

// Zeros the parts of the transform's input that frames do not cover.
void StftLayer::clear_padding(float* scratch) const {
  float* padded = scratch + fft_.scratch_size();
  std::fill_n(padded, fit_.to, 0.0f);
  std::fill(padded + fit_.to + fit_.count, padded + fft_.size(), 0.0f);
}

// Multiplies one channel of a frame, as far as it is transformed, by the window.
void StftLayer::window_channel(const std::byte* frame, DType dtype, int64_t channel,
                               int64_t channels, float* out) const {
  const std::byte* x = frame + static_cast<size_t>(fit_.from * channels + channel) * size_of(dtype);
  if (channels == 1 && dtype == DType::kFloat32 && !window_.empty()) {
    kernels::binary(kernels::Binary::kMultiply, reinterpret_cast<const float*>(x), window_.data(),
                    out, fit_.count);
    return;
  }
  const size_t pitch = static_cast<size_t>(channels) * size_of(dtype);
  for (int64_t i = 0; i < fit_.count; ++i, x += pitch) {
    ops::convert(x, dtype, out + i, DType::kFloat32, 1);
    if (window_.empty()) continue;
    float w = window_[static_cast<size_t>(i)];
    ops::round_to(dtype, &w, 1);
    out[i] *= w;
  }
  ops::round_to(dtype, out, fit_.count);
}

void StftLayer::transform(const std::byte* frame, const ChannelSpec& input, std::byte* y,
                          float* scratch) const {
  const int64_t channels = input.shape.size(), bins = fft_.spectrum_size();
  float* padded = scratch + fft_.scratch_size();
  auto* spectrum = reinterpret_cast<complex64*>(padded + fft_.size());
  float* magnitudes = padded + fft_.size() + 2 * bins;
  for (int64_t c = 0; c < channels; ++c) {
    window_channel(frame, input.dtype, c, channels, padded + fit_.to);
    if (channels == 1 && !magnitude_) {
      fft_.forward(padded, reinterpret_cast<complex64*>(y), scratch);
      return;
    }
    fft_.forward(padded, spectrum, scratch);
    if (!magnitude_) {
      for (int64_t k = 0; k < bins; ++k) {
        reinterpret_cast<complex64*>(y)[k * channels + c] = spectrum[k];
      }
      continue;
    }
    auto* out = reinterpret_cast<float*>(y);
    float* to = channels == 1 ? out : magnitudes;
    kernels::magnitude(reinterpret_cast<const float*>(spectrum), to, bins);
    for (int64_t k = 0; channels > 1 && k < bins; ++k) out[k * channels + c] = magnitudes[k];
  }
}

void StftLayer::count_transforms(const Run& run, const Sequence& x, const Sequence& y) const {
  run.parallel().count(y.steps() * x.frame_size() * (fft_.flop() + fft_.size()));
}

Sequence StftLayer::do_layer(Run& run, const Sequence& x) const {
  const int64_t count = framing_.output_length(x.time);
  const Sequence y = run.output(StftLayer::do_output_spec(x.spec(), {}), x.batch, count);
  framing_.layer_mask(x, y);
  const bool valid = x.all_valid();
  count_transforms(run, x, y);
  ops::for_ranges_with_scratch(
      run, y.steps(), 16, scratch_with_frame(x), [&](int64_t begin, int64_t end, float* scratch) {
        for (int64_t next = begin; next < end;) {
          const int64_t b = next / count, t = next % count;
          const int64_t frames = std::min(end - next, count - t);
          transform_frames(x, valid, b, t, t + frames, y.frame(b, t), scratch);
          next += frames;
        }
      });
  return y;
}

void StftLayer::transform_frames(const Sequence& x, bool valid, int64_t b, int64_t begin,
                                 int64_t end, std::byte* y, float* scratch) const {
  clear_padding(scratch);
  auto* const buffer = reinterpret_cast<std::byte*>(scratch + scratch_size());
  const size_t pitch = checked_bytes(fft_.spectrum_size() * x.frame_size(),
                                     magnitude_ ? sizeof(float) : sizeof(complex64));
  for (int64_t t = begin; t < end; ++t, y += pitch) {
    transform(framing_.frame(x, valid, b, t, buffer), x.spec(), y, scratch);
  }
}

Sequence StftLayer::do_piece(Run& run, const Sequence& x, int64_t b, int64_t begin,
                             int64_t end) const {
  const Sequence y = run.output(StftLayer::do_output_spec(x.spec(), {}), 1, end - begin);
  const ops::Window& window = framing_.window();
  window.layer_mask(x.mask_at(b, 0), x.time, begin, end, y.mask);
  const int64_t first =
      std::clamp<int64_t>(begin * window.stride - window.pads().before, 0, x.time);
  const int64_t last = (end - 1) * window.stride - window.pads().before + window.extent();
  const bool valid = x.piece(b, first, std::clamp(last, first, x.time)).all_valid();
  auto* scratch = run.scratch<float>(scratch_with_frame(x));
  transform_frames(x, valid, b, begin, end, y.values, scratch);
  return y;
}

Sequence StftLayer::do_step(Run& run, const Sequence& x) const {
  const Sequence y =
      run.output(StftLayer::do_output_spec(x.spec(), {}), x.batch, x.time / framing_.block_size());
  count_transforms(run, x, y);
  const Framing::Frames frames = framing_.step(run, x, y);
  auto* scratch = run.scratch<float>(scratch_size());
  auto* buffer =
      run.scratch<std::byte>(framing_.frame_length(), static_cast<int64_t>(x.frame_bytes()));
  clear_padding(scratch);
  for (int64_t b = 0; b < y.batch; ++b) {
    for (int64_t t = 0; t < y.time; ++t) {
      transform(frames.at(b, t, buffer), x.spec(), y.frame(b, t), scratch);
    }
  }
  return y;
}

}  // namespace sl
