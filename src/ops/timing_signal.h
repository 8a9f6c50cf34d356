// Position encodings y [count, channels] by sines and cosines of geometrically spaced frequencies.
#pragma once

#include <cstdint>

#include "core/config.h"
#include "core/run.h"

namespace sl::ops {

// The wavelengths, divided by 2 pi, of the first and the last frequency. In configs they are the
// fields `min_timescale` and `max_timescale`.
struct Timescales {
  explicit Timescales(Config& config);
  Timescales(double minimum, double maximum) : min(minimum), max(maximum) {}

  double min;
  double max;
};

// `count` frequencies from min to min^2 / max in geometric steps, each rounded once.
void timing_frequencies(const Timescales& timescales, float* frequencies, int64_t count);

// y[i] = [sin(p f0), sin(p f1), ..., cos(p f0), cos(p f1), ...] with p = positions[i] and
// channels / 2 frequencies f. If `channels` is odd, the last value is 0.
void timing_signal(const Run& run, const float* frequencies, const float* positions, int64_t count,
                   int64_t channels, float* y);
void timing_signal(const float* frequencies, float position, int64_t channels, float* y);

}  // namespace sl::ops
