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

void timing_signal(Run& run, const Timescales& timescales, const float* positions, int64_t count,
                   int64_t channels, float* y) {
  const int64_t half = channels / 2;
  auto* frequencies = run.scratch<float>(half);
  const double increment = std::log(timescales.max / timescales.min) /
                           static_cast<double>(std::max<int64_t>(half - 1, 1));
  kernels::geometric(static_cast<float>(timescales.min), static_cast<float>(-increment),
                     frequencies, half);
  for_steps(run, count, channels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* sine = y + i * channels;
      float* cosine = sine + half;
      kernels::binary_scalar(kernels::Binary::kMultiply, frequencies, positions[i], sine, half);
      kernels::sin_cos(sine, sine, cosine, half);
      if (channels % 2 != 0) sine[channels - 1] = 0;
    }
  });
}

}  // namespace sl::ops
