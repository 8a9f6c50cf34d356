// SincFilter1DTranspose: upsamples by the stride, with zeros between the steps, and filters all
// channels with the same low-pass filter, a sinc under a Kaiser window (reference: tensorflow
// convolution.SincFilter1DTranspose).
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/ring.h"
#include "kernels/fir.h"
#include "layers/builder.h"
#include "layers/convolution/sinc_filter.h"
#include "ops/elementwise.h"
#include "ops/transposed_window.h"

namespace sl {
namespace {

class SincFilter1DTranspose final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config) : filter(config), padding(read_padding(config)) {}

    static ops::Padding read_padding(Config& config) {
      // "same" makes stride output steps per input step, as does "causal", which leaves out the
      // end; the others keep all output steps.
      constexpr ops::Padding kModes[] = {ops::Padding::kCausal, ops::Padding::kValid,
                                         ops::Padding::kSame, ops::Padding::kValid};
      return kModes[config.choice("padding", {"causal", "valid", "same", "reverse_causal"}, 0)];
    }
    SincFilterFields filter;
    ops::Padding padding;
  };

  SincFilter1DTranspose(const Fields& fields, const Init&)
      : window_{fields.filter.taps, fields.filter.stride, 1, fields.padding},
        reach_((window_.kernel - 1) / window_.stride),
        phases_(static_cast<size_t>(std::min(window_.stride, window_.kernel))) {
    // The taps of a phase are a stride apart, in reverse order, since the first tap kept here
    // multiplies the oldest input.
    const std::vector<float> filter = fields.filter.values();
    const auto stride = static_cast<size_t>(window_.stride);
    for (size_t k = filter.size(); k-- > 0;) phases_[k % stride].push_back(filter[k]);
  }

  Ratio output_ratio() const override { return Ratio(window_.stride); }
  bool supports_step() const override { return window_.supports_step(); }
  std::string step_obstacle() const override {
    return supports_step() ? std::string() : ops::only_causal_steps("padding");
  }
  ReceptiveFields receptive_field_per_step() const override { return window_.receptive_field(); }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.rank() != 1 || input.dtype == DType::kComplex64) {
      fail(Code::kShape, "expected real input of [channels] per step, got {}", to_string(input));
    }
    return {promote_inexact(input.dtype, DType::kFloat32), input.shape};
  }
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return window_.output_length(time);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (!supports_step() || reach_ == 0) return;
    Ring::declare(declaration, ring_of(input.channels.shape), input.batch, input.time);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y =
        run.output(do_output_spec(x.spec(), {}), x.batch, window_.output_length(x.time));
    if (y.size() == 0) return y;
    const int64_t channels = y.frame_size();
    const int64_t last = (y.time - 1 + window_.crop()) / window_.stride;
    const int64_t frames = reach_ + std::max(x.time, last + 1);
    auto* padded = run.scratch<float>(x.batch, frames, channels);
    auto* valid = run.scratch<uint8_t>(x.batch, frames);
    std::fill_n(padded, x.batch * frames * channels, 0.0f);
    std::memset(valid, 1, static_cast<size_t>(x.batch * frames));
    const float* in = ops::as_floats(run, x, DType::kFloat32);
    for (int64_t b = 0; b < x.batch; ++b) {
      const int64_t at = b * frames + reach_;
      copy_valid(in + b * x.time * channels, x.mask_at(b, 0), x.time, channels,
                 padded + at * channels);
      std::copy_n(x.mask_at(b, 0), x.time, valid + at);
      if (window_.mode != ops::Padding::kCausal) {
        window_.layer_mask(x.mask_at(b, 0), x.time, y.mask_at(b, 0));
      }
    }
    filter(run, padded, valid, frames, y);
    return y;
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const Sequence y = run.output(do_output_spec(x.spec(), {}), x.batch, x.time * window_.stride);
    const int64_t channels = y.frame_size(), frames = reach_ + x.time;
    const float* in = ops::as_floats(run, x, DType::kFloat32);
    if (reach_ == 0) {
      auto* masked = run.scratch<float>(x.size());
      for (int64_t b = 0; b < x.batch; ++b) {
        const int64_t at = b * x.time * channels;
        copy_valid(in + at, x.mask_at(b, 0), x.time, channels, masked + at);
      }
      filter(run, masked, x.mask, frames, y);
      return y;
    }
    Ring ring(run, ring_of(x.channels));
    for (int64_t b = 0; b < x.batch; ++b) {
      copy_valid(in + b * x.time * channels, x.mask_at(b, 0), x.time, channels,
                 reinterpret_cast<float*>(ring.incoming(b)));
      std::copy_n(x.mask_at(b, 0), x.time, ring.incoming_mask(b));
    }
    ring.push(x.batch, x.time);
    ring.each_range(x.batch, [&](int64_t first, int64_t count) {
      filter(run, reinterpret_cast<const float*>(ring.newest(first, frames)),
             ring.newest_mask(first, frames), ring.rows(), y.items(first, count));
    });
    return y;
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    if (reach_ == 0) return Layer::step_difference(before);
    return minds_early_steps(before, "takes the steps before the first as valid");
  }
  RingSpec ring_of(const Shape& channels) const {
    RingSpec out;
    out.frame = {DType::kFloat32, channels};
    out.history = reach_;
    out.mask_fill = true;
    return out;
  }

  static void copy_valid(const float* x, const uint8_t* mask, int64_t time, int64_t channels,
                         float* to) {
    for (int64_t t = 0; t < time; ++t) {
      if (mask[t]) {
        std::copy_n(x + t * channels, channels, to + t * channels);
      } else {
        std::fill_n(to + t * channels, channels, 0.0f);
      }
    }
  }

  // Computes y from frames that begin `reach_` steps before the first input step, `pitch` frames
  // for each item. A causal output step is valid if all input steps under its filter are, or its
  // own input step if the filter is no longer than the stride.
  void filter(const Run& run, const float* frames, const uint8_t* valid, int64_t pitch,
              const Sequence& y) const {
    const int64_t channels = y.frame_size();
    const bool masks = window_.mode == ops::Padding::kCausal;
    const bool own = window_.kernel <= window_.stride;
    ops::for_steps(run, y.steps(), channels * (reach_ + 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = i % y.time + window_.crop(), first = i / y.time * pitch;
        const auto phase = static_cast<size_t>(at % window_.stride);
        const float* taps = phase < phases_.size() ? phases_[phase].data() : nullptr;
        const int64_t count = taps ? static_cast<int64_t>(phases_[phase].size()) : 0;
        const int64_t newest = first + reach_ + at / window_.stride;
        float* out = y.floats() + i * channels;
        if (count == 0) {
          std::fill_n(out, channels, 0.0f);
        } else {
          kernels::fir(frames + (newest - count + 1) * channels, channels, taps, count, channels,
                       out);
        }
        if (!masks) continue;
        const int64_t covered = own ? 1 : count;
        const uint8_t* oldest = valid + newest - covered + 1;
        const bool all = std::memchr(oldest, 0, static_cast<size_t>(covered)) == nullptr;
        y.mask[i] = all ? 1 : 0;
      }
    });
  }

  ops::TransposedWindow window_;
  int64_t reach_;                           // maximum number of earlier input steps under a filter
  std::vector<std::vector<float>> phases_;  // the taps of each phase that has any
};

SL_REGISTER_LAYER(SincFilter1DTranspose);

}  // namespace
}  // namespace sl
