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
  Timescales(double least, double most) : min(least), max(most) {}

  double min;
  double max;
};

// min, ..., min^2 / max in geometric steps, each rounded once.
void timing_frequencies(const Timescales& timescales, float* frequencies, int64_t count);

// y[i] = [sin(p f0), sin(p f1), ..., cos(p f0), cos(p f1), ...] for p = positions[i], each of
// `channels` values from half as many frequencies: of an odd number the last is 0.
void timing_signal(const Run& run, const float* frequencies, const float* positions, int64_t count,
                   int64_t channels, float* y);
void timing_signal(const float* frequencies, float position, int64_t channels, float* y);

}  // namespace sl::ops
