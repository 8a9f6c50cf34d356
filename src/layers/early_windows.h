// What windows over time make of the steps that come out of a stream before its first.
#pragma once

#include <string>

#include "layers/step_difference.h"
#include "ops/window.h"

namespace sl {

// Of a window alone: its layer has other reasons to differ.
inline StepDifference window_difference(const ops::Window& window, const EarlySteps& before) {
  if (window.padding.mode != ops::Padding::kCausalValid || window.extent() == 1) return {};
  return minds_early_steps(before, "takes the steps before the first as valid (\"causal_valid\")",
                           "let it have the padding \"causal\"");
}

inline std::string window_cure(const ops::Window& window, const EarlySteps& before) {
  if (!window.is_valid_early(before.count)) return "";
  return window.padding.mode == ops::Padding::kExplicit ? "a padding that is not explicit"
                                                        : "the padding \"reverse_causal\"";
}

}  // namespace sl
