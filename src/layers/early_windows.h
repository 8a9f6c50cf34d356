// How layers with windows over time treat early steps (see the glossary).
#pragma once

#include <string>

#include "layers/step_difference.h"
#include "ops/window.h"

namespace sl {

// The step difference that the window alone causes; its layer may have other reasons to differ.
inline StepDifference window_difference(const ops::Window& window, const EarlySteps& before) {
  if (window.padding.mode != ops::Padding::kCausalValid || window.extent() == 1) return {};
  return minds_early_steps(before, "takes the steps before the first as valid (\"causal_valid\")",
                           "let it have the padding \"causal\"");
}

// Which padding would keep early steps invalid; empty if they are invalid anyway.
inline std::string window_cure(const ops::Window& window, const EarlySteps& before) {
  if (!window.is_valid_early(before.count)) return "";
  return window.padding.mode == ops::Padding::kExplicit ? "a padding that is not explicit"
                                                        : "the padding \"reverse_causal\"";
}

}  // namespace sl
