// Functions as configs name them: "relu", {"function": "leaky_relu", "negative_slope": 0.2}.
#pragma once

#include <optional>

#include "core/config.h"
#include "kernels/pointwise.h"

namespace sl {

// Functions of a whole row, the last axis of what they are applied to.
enum class RowFunction {
  kNone,
  kSoftmax,
  kLogSoftmax,
  kStandardize,  // to mean 0 and variance 1; the parameter is epsilon
};

// A function with its parameter: elementwise, unless it is a row's.
struct Activation {
  kernels::Unary op = kernels::Unary::kIdentity;
  float parameter = 0;
  RowFunction over_row = RowFunction::kNone;

  bool is_elementwise() const { return over_row == RowFunction::kNone; }
  bool is_identity() const { return is_elementwise() && op == kernels::Unary::kIdentity; }
};

// A field that may be missing or null: no function.
std::optional<Activation> read_activation(Config& config, const char* field);
// A field that then is the function of the name `otherwise`.
Activation read_activation(Config& config, const char* field, const char* otherwise);

}  // namespace sl
