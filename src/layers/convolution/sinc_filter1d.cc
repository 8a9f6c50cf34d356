// SincFilter1D: a low-pass filter, a sinc under a Kaiser window, the same for all channels
// (reference: tensorflow convolution.SincFilter1D).
#include <cmath>
#include <numbers>

#include "kernels/fir.h"
#include "layers/convolution/conv_output.h"
#include "layers/convolution/keras_conv.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

// Multiply-adds that pay for waking a thread.
constexpr int64_t kGrain = 1 << 16;
// No weight limits the kernel.
constexpr int64_t kMostTaps = 1 << 24;
// Beyond it the window overflows.
constexpr double kMostBeta = 700;

// Modified Bessel function of the first kind, of order 0, by its power series.
double bessel_i0(double x) {
  const double quarter = x * x / 4;
  double term = 1, sum = 1;
  for (double k = 1; term > sum * 1e-17; ++k) {
    term *= quarter / (k * k);
    sum += term;
  }
  return sum;
}

std::vector<float> kaiser_sinc(double cutoff, double beta, int64_t taps) {
  std::vector<double> filter;
  const double center = static_cast<double>(taps - 1) / 2;
  double sum = 0;
  for (int64_t i = 0; i < taps; ++i) {
    const double time = static_cast<double>(i) - center;
    const double place = taps == 1 ? 0 : time / center;
    const double window = bessel_i0(beta * std::sqrt(1 - place * place)) / bessel_i0(beta);
    const double angle = 2 * std::numbers::pi * cutoff * time;
    filter.push_back(window * (angle == 0 ? 1 : std::sin(angle) / angle));
    sum += filter.back();
  }
  std::vector<float> out;
  for (double v : filter) out.push_back(static_cast<float>(v / sum));
  return out;
}

class SincFilter1D final : public KerasConv<SlidingLayer> {
 public:
  struct Fields : KerasConvFields {
    explicit Fields(Config& config)
        : cutoff(config.number("cutoff", 0.5)), kaiser_beta(config.number("kaiser_beta", 6)) {
      const auto padding = read_keras_padding(config, "padding");
      const int64_t taps = config.integer("kernel_size", 1);
      axes.push_back({taps, config.integer("strides", 1, 1), 1, padding});
      if (taps > kMostTaps) {
        config.error("kernel_size", fmt::format("expected at most 2^24, got {}", taps));
      }
      // Written so that NaN fails too.
      if (!(cutoff > 0 && cutoff <= 0.5)) {
        config.error("cutoff", fmt::format("expected more than 0 and at most 0.5, got {}", cutoff));
      }
      if (!(std::abs(kaiser_beta) <= kMostBeta)) {
        config.error("kaiser_beta",
                     fmt::format("expected at most {} in size, got {}", kMostBeta, kaiser_beta));
      }
    }
    double cutoff, kaiser_beta;
  };

  SincFilter1D(const Fields& fields, const Init&)
      : KerasConv(fields.axes),
        filter_(kaiser_sinc(fields.cutoff, fields.kaiser_beta, fields.axes[0].kernel)),
        output_(fields, {}) {}

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.rank() != 1) {
      fail(Code::kShape, "{} \"{}\": expected input of [channels] per step, got {}", type(), name(),
           to_string(input.shape));
    }
    output_.check(*this, input, 1, input.shape.back());
    return spec_of(input);
  }

 private:
  ChannelSpec spec_of(const ChannelSpec& input) const override {
    return {output_.dtype(input.dtype), input.shape};
  }

  void compute(Run& run, const ops::ConvolutionInput& in, const Sequence& y) const override {
    const int64_t channels = y.frame_size(), stride = axes()[0].stride;
    const auto taps = static_cast<int64_t>(filter_.size());
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, taps * channels));
    ops::for_ranges(run, y.steps(), grain, [&](int64_t begin, int64_t end) {
      // Without a stride, a tap's inputs for many steps lie together as their outputs do.
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
