// Tables of the elementwise functions of one argument, made from unary_functions.inc.
#pragma once

#include <array>
#include <string_view>

#include "kernels/pointwise.h"

namespace sl::kernels {

struct UnaryParameter {
  std::string_view name;  // in configs; empty: there is none
  double default_value = 0;
  float tested = 0;
};

struct UnaryFunction {
  Unary op;
  const char* name;           // of the enumerator
  std::string_view function;  // in configs; empty: they do not name it
  UnaryParameter parameter;
};

namespace unary_list {

constexpr UnaryParameter none() { return {}; }
constexpr UnaryParameter parameter(std::string_view name, double default_value, float tested) {
  return {name, default_value, tested};
}

// In the order of the enumerators.
inline constexpr auto kUnaryFunctions = std::to_array<UnaryFunction>({
#define SL_UNARY(Name, function, layer, parameter, ...) \
  {Unary::k##Name, #Name, function, parameter},
#include "kernels/unary_functions.inc"
});

// Second names in configs.
inline constexpr auto kUnaryAliases = std::to_array<UnaryFunction>({
#define SL_UNARY_ALIAS(function, Name) {Unary::k##Name, #Name, function, {}},
#include "kernels/unary_functions.inc"
});

}  // namespace unary_list

using unary_list::kUnaryAliases;
using unary_list::kUnaryFunctions;

constexpr const UnaryFunction& description(Unary op) {
  return kUnaryFunctions[static_cast<size_t>(op)];
}

}  // namespace sl::kernels
