// Elementwise functions as configs name them: "relu", {"function": "leaky_relu", "negative_slope":
// 0.2}.
#pragma once

#include <optional>

#include "core/config.h"
#include "kernels/pointwise.h"

namespace sl {

// A function with its parameter.
struct Activation {
  kernels::Unary op = kernels::Unary::kIdentity;
  float parameter = 0;
};

// A field that may be missing or null: no function.
std::optional<Activation> read_activation(Config& config, const char* field);
// A field that then is the function of the name `otherwise`.
Activation read_activation(Config& config, const char* field, const char* otherwise);

}  // namespace sl
