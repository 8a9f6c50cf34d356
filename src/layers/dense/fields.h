// The fields that all dense layers have.
#pragma once

#include <optional>

#include "ops/activation.h"

namespace sl {

struct DenseFields {
  explicit DenseFields(Config& config)
      : activation(read_activation(config, "activation")),
        compute_dtype(config.optional_dtype("compute_dtype")),
        param_dtype(config.dtype("param_dtype", DType::kFloat32)) {
    config.ignore({"precision", "kernel_init", "kernel_sharding", "bias_init", "bias_sharding",
                   "einsum_factory", "projectable", "quantization_provider"});
  }
  std::optional<Activation> activation;
  std::optional<DType> compute_dtype;
  DType param_dtype;
};

}  // namespace sl
