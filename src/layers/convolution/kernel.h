// Kernels of convolutions with weight normalization or a constraint, which are folded into the
// kernel when it is read, since inference never changes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "layers/weights.h"

namespace sl {

// The field "kernel_constraint" (reference: normalization.L2WeightNormalization,
// normalization.SpectralWeightNormalization).
struct KernelConstraint {
  explicit KernelConstraint(Config& config);

  bool spectral = false;
  double epsilon = 1e-12;
  std::string name;
  DType param_dtype = DType::kFloat32;
  int64_t power_iterations = 1;  // this and the following: spectral only
  std::string collection;
};

// The fields "use_weight_norm" and "kernel_constraint".
struct KernelFields {
  KernelFields() = default;
  explicit KernelFields(Config& config);

  bool use_weight_norm = false;
  std::optional<KernelConstraint> constraint;
};

// Reads the weight "kernel", which is complex if `param_dtype` is, normalized and rounded to
// `dtype`.
ops::KernelParts read_kernel(const KernelFields& fields, const WeightScope& weights,
                             const Shape& expected, DType param_dtype, DType dtype);

}  // namespace sl
