// ConcatTimingSignal: x with sinusoids of its steps' positions behind the channels of the last axis
// (reference: the TensorFlow version's position.ConcatTimingSignal).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "layers/builder.h"
#include "layers/position/step_counter.h"
#include "ops/elementwise.h"
#include "ops/timing_signal.h"

namespace sl {
namespace {

class ConcatTimingSignal final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : channels(config.integer("channels", 1, 8)), timescales(config) {
      if (channels > kMostChannels) {
        config.error("channels", fmt::format("expected at most {}", kMostChannels));
      }
    }
    static constexpr int64_t kMostChannels = int64_t{1} << 20;
    int64_t channels;
    ops::Timescales timescales;
  };

  ConcatTimingSignal(Fields fields, const Init&)
      : channels_(fields.channels), frequencies_(frequencies(fields)), counter_(false) {}

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    if (!is_float(input.dtype)) {
      fail(Code::kShape, "{} \"{}\": expected inputs of a float dtype, got {}", type(), name(),
           name_of(input.dtype));
    }
    return {input.dtype, concatenated(input.shape)};
  }
  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    counter_.declare(declaration, input);
  }
  Sequence layer(Run& run, const Sequence& x) const override;
  Sequence step(Run& run, const Sequence& x) const override { return layer(run, x); }

 private:
  // A step without channels counts as one.
  Shape concatenated(Shape channels) const {
    if (channels.empty()) channels.push_back(1);
    channels.back() += channels_;
    return channels;
  }

  // TensorFlow's exp is nearly exact.
  static std::vector<float> frequencies(const Fields& fields) {
    std::vector<float> out(static_cast<size_t>(fields.channels / 2));
    const float log = static_cast<float>(std::log(fields.timescales.max / fields.timescales.min));
    const float increment = log / static_cast<float>(std::max<size_t>(out.size(), 2) - 1);
    for (size_t i = 0; i < out.size(); ++i) {
      const double exponent = static_cast<float>(i) * -increment;
      out[i] = static_cast<float>(fields.timescales.min) * static_cast<float>(std::exp(exponent));
    }
    return out;
  }

  int64_t channels_;
  std::vector<float> frequencies_;
  StepCounter counter_;
};

Sequence ConcatTimingSignal::layer(Run& run, const Sequence& x) const {
  const Sequence y = run.output_like(x, {x.dtype, concatenated(x.channels)});
  const Positions positions = counter_.count(run, x);
  auto* signal = run.scratch<float>(x.time * channels_);
  ops::timing_signal(run, frequencies_.data(), positions.values, x.time, channels_, signal);
  const size_t element = size_of(x.dtype);
  auto* added = run.scratch<std::byte>(x.time * channels_ * static_cast<int64_t>(element));
  ops::convert(signal, DType::kFloat32, added, x.dtype, x.time * channels_);

  const size_t added_bytes = static_cast<size_t>(channels_) * element;
  const size_t row_bytes = static_cast<size_t>(y.channels.back()) * element;
  const size_t own_bytes = row_bytes - added_bytes;
  const size_t rows = y.frame_bytes() / row_bytes;
  ops::for_steps(run, x.steps(), y.frame_size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      std::byte* to = y.values + at * y.frame_bytes();
      const std::byte* from = x.values + at * x.frame_bytes();
      const std::byte* behind = added + static_cast<size_t>(i % x.time) * added_bytes;
      for (size_t row = 0; row < rows; ++row, from += own_bytes, to += row_bytes) {
        std::memcpy(to, from, own_bytes);
        std::memcpy(to + own_bytes, behind, added_bytes);
      }
    }
  });
  return y;
}

SL_REGISTER_LAYER(ConcatTimingSignal);

}  // namespace
}  // namespace sl
