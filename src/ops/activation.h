// Functions as configs name them: "relu", {"function": "leaky_relu", "negative_slope": 0.2}.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "kernels/pointwise.h"

namespace sl {

// Functions of whole rows, each of which has all elements of some channel axes.
enum class RowFunction {
  kNone,
  kSoftmax,
  kLogSoftmax,
  kStandardize,  // to mean 0 and variance 1; the parameter is epsilon
};

// Axes, of which batch and time are 0 and 1, counted from either end.
struct RowAxes {
  uint16_t from_start = 0;  // bit i stands for axis i
  uint16_t from_end = 1;    // bit i stands for axis -1 - i
};

// A function and its parameter. It is elementwise unless `over_row` names a function of rows.
struct Activation {
  kernels::Unary op = kernels::Unary::kIdentity;
  float parameter = 0;
  RowFunction over_row = RowFunction::kNone;
  RowAxes axes{};

  bool is_elementwise() const { return over_row == RowFunction::kNone; }
  bool is_identity() const { return is_elementwise() && op == kernels::Unary::kIdentity; }
};

// The axes of the rows among `rank` channel axes, as bits. Fails if one is batch or time, if there
// is none of that number, or if two are the same.
uint32_t row_axes(const RowAxes& axes, int rank);
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
