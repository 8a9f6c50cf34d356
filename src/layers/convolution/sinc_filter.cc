#include "layers/convolution/sinc_filter.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "ops/bessel.h"

namespace sl {
namespace {

// Maximum kernel size, since no weight limits it.
constexpr int64_t kMaxTaps = 1 << 24;
// Maximum of |kaiser_beta|, beyond which the window overflows.
constexpr double kMaxBeta = 700;

std::vector<float> kaiser_sinc(double cutoff, double beta, int64_t taps) {
  std::vector<double> filter;
  const double center = static_cast<double>(taps - 1) / 2;
  double sum = 0;
  for (int64_t i = 0; i < taps; ++i) {
    const double time = static_cast<double>(i) - center;
    const double x = taps == 1 ? 0 : time / center;
    const double window = ops::bessel_i0(beta * std::sqrt(1 - x * x)) / ops::bessel_i0(beta);
    const double angle = 2 * std::numbers::pi * cutoff * time;
    filter.push_back(window * (angle == 0 ? 1 : std::sin(angle) / angle));
    sum += filter.back();
  }
  std::vector<float> out;
  for (double v : filter) out.push_back(static_cast<float>(v / sum));
  return out;
}

}  // namespace

SincFilterFields::SincFilterFields(Config& config)
    : taps(config.integer("kernel_size", 1)),
      stride(config.integer("strides", 1, 1)),
      cutoff(config.number("cutoff", 0.5)),
      kaiser_beta(config.number("kaiser_beta", 6)) {
  if (taps > kMaxTaps) {
    config.error("kernel_size", fmt::format("expected at most 2^24, got {}", taps));
  }
  // The condition is negated so that NaN fails too.
  if (!(cutoff > 0 && cutoff <= 0.5)) {
    config.error("cutoff", fmt::format("expected more than 0 and at most 0.5, got {}", cutoff));
  }
  if (!(std::abs(kaiser_beta) <= kMaxBeta)) {
    config.error("kaiser_beta", fmt::format("expected an absolute value of at most {}, got {}",
                                            kMaxBeta, kaiser_beta));
  }
}

std::vector<float> SincFilterFields::values() const {
  return kaiser_sinc(cutoff, kaiser_beta, taps);
}

}  // namespace sl
