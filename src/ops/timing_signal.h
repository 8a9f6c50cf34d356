// Sinusoids of geometrically spaced frequencies as an encoding of positions.
#pragma once

#include <cstdint>

#include "core/config.h"
#include "core/run.h"

namespace sl::ops {

// Fields `min_timescale` and `max_timescale`: the wavelengths, over 2 pi, of the first and the last
// frequency.
struct Timescales {
  explicit Timescales(Config& config);

  double min;
  double max;
};

// y[i] = [sin(p f0), sin(p f1), ..., cos(p f0), cos(p f1), ...] for p = positions[i], each of
// `channels` values: of an odd number the last is 0.
void timing_signal(Run& run, const Timescales& timescales, const float* positions, int64_t count,
                   int64_t channels, float* y);

}  // namespace sl::ops
