#pragma once

#include <algorithm>
#include <cmath>

#include "ops/elementwise.h"

namespace sl::ops {

// log(1 + e^x) as the reference computes it for a parameter in `dtype`, with every operation
// rounded.
inline float softplus(float x, DType dtype) {
  const auto rounded = [dtype](float value) {
    round_to(dtype, &value, 1);
    return value;
  };
  const float small = rounded(std::exp(-std::abs(x)));
  return rounded(std::max(x, 0.0f) + rounded(std::log1p(small)));
}

}  // namespace sl::ops
