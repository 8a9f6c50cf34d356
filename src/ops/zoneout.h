// next = (1 - p) * next + p * old: the expectation of zoneout (Krueger et al. 2016; reference:
// KerasZoneoutWrapper), as at inference.
#pragma once

#include <cstdint>

#include "core/config.h"

namespace sl::ops {

// Reads the config field "zoneout_probability", from 0 to 1; the default is 0.
float read_zoneout(Config& config);

// The operations of `zone_out` for each number.
constexpr int64_t kZoneoutFlop = 3;

// next = (1 - p) * next + p * old, in place, rounded as a computation in `dtype` is.
void zone_out(float p, const float* old, float* next, int64_t count, DType dtype);

}  // namespace sl::ops
