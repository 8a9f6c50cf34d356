#include "ops/zoneout.h"

#include "ops/elementwise.h"

namespace sl::ops {

float read_zoneout(Config& config) {
  const double p = config.number("zoneout_probability", 0.0);
  if (!(p >= 0 && p <= 1)) config.error("zoneout_probability", "expected a number from 0 to 1");
  return static_cast<float>(p);
}

void zone_out(float p, const float* old, float* next, int64_t count, DType dtype) {
  const auto rounded = [&](float value) {
    round_to(dtype, &value, 1);
    return value;
  };
  const float zoned = rounded(p), keep = rounded(1.0f - zoned);
  kernels::binary_scalar(kernels::Binary::kMultiply, next, keep, next, count);
  if (dtype == DType::kFloat32) {
    kernels::axpy(zoned, old, next, count);
    return;
  }
  round_to(dtype, next, count);
  for (int64_t i = 0; i < count; ++i) next[i] += rounded(zoned * old[i]);
  round_to(dtype, next, count);
}

}  // namespace sl::ops
