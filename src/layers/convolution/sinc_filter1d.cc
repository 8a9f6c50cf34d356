// SincFilter1D: filters all channels with the same low-pass filter, a sinc under a Kaiser window
// (reference: tensorflow convolution.SincFilter1D).
#include "kernels/fir.h"
#include "layers/convolution/conv_output.h"
#include "layers/convolution/keras_conv.h"
#include "layers/convolution/sinc_filter.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

// Number of multiply-adds that is worth waking a thread.
constexpr int64_t kGrain = 1 << 16;

class SincFilter1D final : public KerasConv<SlidingLayer> {
 public:
  struct Fields : KerasConvFields {
    explicit Fields(Config& config) : filter(config) {
      const auto padding = read_keras_padding(config, "padding");
      axes.push_back({filter.taps, filter.stride, 1, padding});
    }
    SincFilterFields filter;
  };
  SincFilter1D(const Fields& fields, const Init&)
      : KerasConv(fields.axes), filter_(fields.filter.values()), output_(fields, {}) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.rank() != 1) {
      fail(Code::kShape, "expected input of [channels] per step, got {}", to_string(input.shape));
    }
    output_.check(input, 1, input.shape.back());
    return spec_of(input);
  }

  ChannelSpec spec_of(const ChannelSpec& input) const override {
    return {output_.dtype(input.dtype), input.shape};
  }

  void compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const override {
    const int64_t channels = y.frame_size(), stride = axes()[0].stride;
    const auto taps = static_cast<int64_t>(filter_.size());
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, taps * channels));
    ops::for_ranges(run, y.steps(), grain, [&](int64_t begin, int64_t end) {
      // With a stride of 1, a tap reads consecutive inputs for consecutive outputs, so that many
      // steps are computed at once.
      for (int64_t i = begin, steps = 1; i < end; i += steps) {
        const int64_t t = i % y.time;
        if (stride == 1) steps = std::min(end - i, y.time - t);
        const float* x = in.x + i / y.time * in.batch_pitch + t * stride * channels;
        kernels::fir(x, channels, filter_.data(), taps, steps * channels,
                     y.floats() + i * channels);
      }
    });
  }

  std::vector<float> filter_;
  ConvOutput output_;
};

SL_REGISTER_LAYER(SincFilter1D);

}  // namespace
}  // namespace sl
