// Functions as configs name them: "relu", {"function": "leaky_relu", "negative_slope": 0.2}.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "kernels/pointwise.h"

namespace sl {

// Functions of whole rows, which lie along one channel axis.
enum class RowFunction {
  kNone,
  kSoftmax,
  kLogSoftmax,
  kStandardize,  // to mean 0 and variance 1; the parameter is epsilon
};

// A function and its parameter. It is elementwise unless `over_row` names a function of rows.
struct Activation {
  kernels::Unary op = kernels::Unary::kIdentity;
  float parameter = 0;
  RowFunction over_row = RowFunction::kNone;
  int64_t axis = -1;  // of the rows; batch and time count

  bool is_elementwise() const { return over_row == RowFunction::kNone; }
  bool is_identity() const { return is_elementwise() && op == kernels::Unary::kIdentity; }
};

// The axis of the rows among `rank` channel axes. Fails if it is batch or time, or if there is
// none.
int row_axis(const Activation& activation, int rank);
// Whether the function maps each row of the last of `rank` channel axes separately.
bool keeps_to_rows(const Activation& activation, int rank);

// A function as configs name it, and its parameter, if it has one.
struct FunctionName {
  std::string_view name;
  std::string_view parameter;
};
std::vector<FunctionName> function_names();

// Reads an optional field; a missing or null field gives no function.
std::optional<Activation> read_activation(Config& config, const char* field);
// Reads an optional field; a missing field gives the function named `fallback`.
Activation read_activation(Config& config, const char* field, const char* fallback);
// Fails unless a function of rows is over the last axis of what it is applied to, whose number of
// axes is `rank`, or 0 if it depends on the input.
void require_last_axis(const Config& config, const char* field, const Activation& activation,
                       int rank = 0);

}  // namespace sl
