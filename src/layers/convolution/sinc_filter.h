// The filter of SincFilter1D and SincFilter1DTranspose, and the fields that define it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/config.h"

namespace sl {

struct SincFilterFields {
  explicit SincFilterFields(Config& config);
  // The taps: a sinc under a Kaiser window, normalized to a sum of 1.
  std::vector<float> values() const;

  int64_t taps, stride;
  double cutoff, kaiser_beta;
};

}  // namespace sl
