// Advice on which layer type replaces a type of another framework.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sl {

// Layer types of PyTorch, Keras, TensorFlow, Flax or ONNX, and the config that does the same here.
struct TypeHint {
  const char* names;   // separated by spaces
  const char* config;  // JSON with example sizes; null if no config does the same
  const char* note;    // further advice, or null
};

std::span<const TypeHint> type_hints();

// Advice for an unknown layer type: its hint or, without one, the closest of `types` in spelling;
// empty if there is neither. Letter case, "_", "-" and a module path before the name do not matter.
std::string advice_for_type(std::string_view name, const std::vector<std::string>& types);

}  // namespace sl
