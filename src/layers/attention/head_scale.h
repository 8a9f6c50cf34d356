// The scale of the units of queries or keys, applied before their products.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/dtype.h"
#include "layers/weights.h"

namespace sl {

class HeadScale {
 public:
  // Every unit has the scale `factor`. If `weight` is not empty, it names weights w, one for each
  // unit, and the scale is factor softplus(w) / ln 2.
  HeadScale(double factor, const char* weight, int64_t units, const WeightScope& weights);

  // The scale [units], rounded as a computation in `dtype` rounds it.
  const float* of(DType dtype) const;

 private:
  std::array<std::vector<float>, 3> scales_;
};

}  // namespace sl
