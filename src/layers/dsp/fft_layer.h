// Base of FFT, IFFT, RFFT and IRFFT: a transform of one channel axis (reference: dsp.FFTBase).
#pragma once

#include <algorithm>
#include <cstdint>

#include "layers/builder.h"
#include "layers/dsp/fft_padding.h"
#include "layers/shape/channel_axes.h"
#include "ops/elementwise.h"
#include "ops/fft.h"
#include "ops/per_size.h"

namespace sl {

// The fields of the transforms. A length of 0, like null, is implied by the size of the input.
struct FftFields {
  explicit FftFields(Config& config, bool has_frame_length)
      : fft_length(length(config, "fft_length")),
        frame_length(has_frame_length ? length(config, "frame_length") : 0),
        axis(config.integer("axis", -Shape::kMaxRank, -1)),
        padding(read_fft_padding(config, "padding")) {
    if (axis == 0 || axis == 1) config.error("axis", "batch and time (0 and 1) are not channels");
  }
  int64_t fft_length;
  int64_t frame_length;
  int64_t axis;
  FftPadding padding;

 private:
  static int64_t length(Config& config, const char* field) {
    config.note(field, "integer or null", "null");
    const bool given = config.raw(field) != nullptr;
    return given ? config.integer(field, 0) : 0;
  }
};

// Transforms lines, which are the values along the axis. `Transform` is constructed from (fields,
// size of a line) and has
//   using In, Out                          types of values, float or complex64
//   int64_t output_size() const
//   int64_t scratch_size() const           in floats
//   void apply(const In* x, Out* y, float* scratch) const
template <typename Transform>
class FftLayer final : public StatelessLayer {
 public:
  using In = typename Transform::In;
  using Out = typename Transform::Out;
  struct Fields : FftFields {
    explicit Fields(Config& config) : FftFields(config, Transform::kHasFrameLength) {}
  };
  FftLayer(Fields fields, const Init&) : fields_(fields) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    constexpr bool kReal = std::is_same_v<In, float>;
    if (kReal && !is_float(input.dtype)) {
      fail(Code::kShape, "expected a float dtype, got {}", name_of(input.dtype));
    }
    ChannelSpec out{std::is_same_v<Out, float> ? DType::kFloat32 : DType::kComplex64, input.shape};
    out.shape[channel_axis(fields_.axis, input.shape)] = transform_of(input.shape).output_size();
    return out;
  }
  void do_declare(Declaration&, const SequenceSpec& input) const override {
    transform_of(input.channels.shape);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, do_output_spec(x.spec(), {}));
    const In* values = values_of(run, x);
    const Transform& transform = transform_of(x.channels);
    const int axis = channel_axis(fields_.axis, x.channels);
    const int64_t size = x.channels[axis], out_size = transform.output_size();
    const int64_t inner = x.channels.slice(axis + 1, x.channels.rank()).size();
    const int64_t lines = out_size == 0 ? 0 : y.size() / out_size;
    const int64_t floats = transform.scratch_size() + 2 * (size + out_size);
    const auto grain = std::max<int64_t>(1, 4096 / std::max(size, out_size));
    run.parallel().count(lines * transform.flop());
    ops::for_ranges_with_scratch(
        run, lines, grain, floats, [&](int64_t begin, int64_t end, float* scratch) {
          auto* line = reinterpret_cast<In*>(scratch + transform.scratch_size());
          auto* out = reinterpret_cast<Out*>(scratch + transform.scratch_size() + 2 * size);
          for (int64_t i = begin; i < end; ++i) {
            const int64_t outer = i / inner, at = i % inner;
            const In* from = values + outer * size * inner + at;
            Out* to = y.as<Out>() + outer * out_size * inner + at;
            if (inner == 1) {
              transform.apply(from, to, scratch);
              continue;
            }
            for (int64_t k = 0; k < size; ++k) line[k] = from[k * inner];
            transform.apply(line, out, scratch);
            for (int64_t k = 0; k < out_size; ++k) to[k * inner] = out[k];
          }
        });
    return y;
  }

  static const In* values_of(Run& run, const Sequence& x) {
    if constexpr (std::is_same_v<In, float>) {
      return ops::as_floats(run, x, DType::kFloat32);
    } else {
      if (x.dtype == DType::kComplex64) return x.as<const complex64>();
      auto* values = run.scratch<complex64>(x.size());
      ops::convert(x.values, x.dtype, values, DType::kComplex64, x.size());
      return values;
    }
  }
  const Transform& transform_of(const Shape& channels) const {
    const int64_t size = channels[channel_axis(fields_.axis, channels)];
    return transforms_.get(size, [&] { return Transform(fields_, size); });
  }

  FftFields fields_;
  ops::PerSize<Transform> transforms_;
};

// Pads or truncates a line to `length` in scratch; returns x itself if it has this length.
template <typename T>
const T* fitted(const T* x, int64_t size, int64_t length, FftPadding padding, float* scratch) {
  if (size == length) return x;
  const Fit fit(size, length, padding);
  auto* out = reinterpret_cast<T*>(scratch);
  std::fill_n(out, length, T());
  std::copy_n(x + fit.from, fit.count, out + fit.to);
  return out;
}

}  // namespace sl
