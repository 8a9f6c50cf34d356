#include "ops/timing_signal.h"

#include <algorithm>
#include <cmath>

#include "kernels/pointwise.h"
#include "kernels/rotation.h"
#include "ops/elementwise.h"

namespace sl::ops {

Timescales::Timescales(Config& config)
    : min(config.number("min_timescale", 1)), max(config.number("max_timescale", 1e4)) {
  if (!(min > 0) || std::isinf(min)) {
    config.error("min_timescale", "expected a finite number above 0");
  }
  if (!(max > 0) || std::isinf(max)) {
    config.error("max_timescale", "expected a finite number above 0");
  }
}

void timing_frequencies(const Timescales& timescales, float* frequencies, int64_t count) {
  const double steps = static_cast<double>(std::max<int64_t>(count - 1, 1));
  const double ratio = std::exp(std::log(timescales.min / timescales.max) / steps);
  double frequency = timescales.min;
  for (int64_t i = 0; i < count; ++i, frequency *= ratio) {
    frequencies[i] = static_cast<float>(frequency);
  }
}

void timing_signal(const float* frequencies, float position, int64_t channels, float* y) {
  const int64_t half = channels / 2;
  float* cosine = y + half;
  kernels::binary_scalar(kernels::Binary::kMultiply, frequencies, position, y, half);
  kernels::sin_cos(y, y, cosine, half);
  if (channels % 2 != 0) y[channels - 1] = 0;
}

void timing_signal(const Run& run, const float* frequencies, const float* positions, int64_t count,
                   int64_t channels, float* y) {
  for_steps(run, count, channels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      timing_signal(frequencies, positions[i], channels, y + i * channels);
  });
}

}  // namespace sl::ops
