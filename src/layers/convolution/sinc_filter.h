// The filter of SincFilter1D and SincFilter1DTranspose, and the fields that tell it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/config.h"

namespace sl {

struct SincFilterFields {
  explicit SincFilterFields(Config& config);
  // A sinc under a Kaiser window, whose sum is 1.
  std::vector<float> values() const;

  int64_t taps, stride;
  double cutoff, kaiser_beta;
};

}  // namespace sl
