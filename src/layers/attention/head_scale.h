// What queries or keys are multiplied by before their products.
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
  // `factor` for all units, or, with weights of that name (not empty), factor softplus(w) / ln 2.
  HeadScale(double factor, const char* weight, int64_t units, const WeightScope& weights);

  // [units], as a computation in that dtype has it.
  const float* of(DType dtype) const;

 private:
  std::array<std::vector<float>, 3> scales_;
};

}  // namespace sl
