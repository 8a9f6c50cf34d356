// Zoneout (Krueger et al. 2016; reference: KerasZoneoutWrapper): the expectation, as at inference.
#pragma once

#include <cstdint>

#include "core/config.h"

namespace sl::ops {

// Reads "zoneout_probability": from 0 to 1, by default 0.
float read_zoneout(Config& config);

// next = (1 - p) next + p old, rounded as a computation in `dtype` is.
void zone_out(float p, const float* old, float* next, int64_t count, DType dtype);

}  // namespace sl::ops
