// Kernels of convolutions and what is applied to them before use: weight normalization or a
// constraint. Inference needs them once, so they are folded into the kernel when it is read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "layers/weights.h"

namespace sl {

// (reference: normalization.L2WeightNormalization, normalization.SpectralWeightNormalization)
struct KernelConstraint {
  explicit KernelConstraint(Config& config);

  bool spectral = false;
  double epsilon = 1e-12;
  std::string name;
  DType param_dtype = DType::kFloat32;
  int64_t power_iterations = 1;  // the rest is of the spectral one only
  std::string collection;
};

// Fields `use_weight_norm` and `kernel_constraint`.
struct KernelFields {
  KernelFields() = default;
  explicit KernelFields(Config& config);

  bool use_weight_norm = false;
  std::optional<KernelConstraint> constraint;
};

// The weight `kernel`, of complex numbers if `param_dtype` is, normalized and rounded to what
// `dtype` can hold.
TensorParts read_kernel(const KernelFields& fields, const WeightScope& weights,
                        const Shape& expected, DType param_dtype, DType dtype);

}  // namespace sl
