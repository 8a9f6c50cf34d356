// What to use for the layer types of other frameworks.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sl {

// Layer types of PyTorch, Keras, TensorFlow, Flax or ONNX, and what does the same here.
struct TypeHint {
  const char* names;   // separated by spaces
  const char* config;  // JSON, with sizes as examples; null: no config does the same
  const char* note;    // what else to know, or null
};

std::span<const TypeHint> type_hints();

// How to name what an unknown layer type means: by its hint, else by the closest of `types` in
// spelling; empty if there is neither. Letter case, "_" and "-" make no difference, nor does the
// path of a module before the name.
std::string advice_for_type(std::string_view name, const std::vector<std::string>& types);

}  // namespace sl
