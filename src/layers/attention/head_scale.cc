#include "layers/attention/head_scale.h"

#include "kernels/pointwise.h"
#include "ops/elementwise.h"
#include "ops/softplus.h"

namespace sl {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};
// 1 / softplus(0), with as many digits as in the reference.
constexpr double kInverseSoftplusOfZero = 1.442695041;

}  // namespace

HeadScale::HeadScale(double factor, const char* weight, int64_t units, const WeightScope& weights) {
  std::vector<float> per_unit;
  if (*weight) per_unit = weights.floats(weight, {units});
  for (size_t i = 0; i < scales_.size(); ++i) {
    const double all = per_unit.empty() ? factor : kInverseSoftplusOfZero * factor;
    auto rounded = static_cast<float>(all);
    ops::round_to(kDTypes[i], &rounded, 1);
    std::vector<float>& scale = scales_[i];
    scale = per_unit;
    scale.resize(static_cast<size_t>(units), rounded);
    if (per_unit.empty()) continue;
    ops::round_to(kDTypes[i], scale.data(), units);
    for (float& w : scale) w = ops::softplus(w, kDTypes[i]);
    kernels::binary_scalar(kernels::Binary::kMultiply, scale.data(), rounded, scale.data(), units);
    ops::round_to(kDTypes[i], scale.data(), units);
  }
}

const float* HeadScale::of(DType dtype) const {
  for (size_t i = 0; i < scales_.size(); ++i) {
    if (kDTypes[i] == dtype) return scales_[i].data();
  }
  return scales_[0].data();
}

}  // namespace sl
