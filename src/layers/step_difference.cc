#include "layers/step_difference.h"

#include <fmt/format.h>

namespace sl {

std::string quoted_layer(const std::string& type, const std::string& path) {
  return path.empty() ? type : fmt::format("{} \"{}\"", type, path);
}

std::string StepDifference::where() const { return quoted_layer(type, path); }

void StepDifferences::add(StepDifference difference, const std::string& type) {
  if (difference.reason.empty()) return;
  // Add only one difference for each layer, since a Repeat follows its child more than once.
  if (!seen_.insert(here(type)).second) return;
  difference.path = path_;
  difference.type = type;
  all_.push_back(std::move(difference));
}

StepDifference minds_early_steps(const EarlySteps& before, const std::string& does,
                                 const std::string& cure) {
  if (before.count == 0) return {};
  StepDifference out;
  if (before.kind == EarlySteps::Kind::kPadding) {
    out.condition = StepDifference::Condition::kPadding;
    out.reason = fmt::format("it {}, and runs backwards from the end of the padding on", does);
    out.cure = "put it outside of what runs backwards, or pad no more than a batch needs";
    return out;
  }
  out.reason = fmt::format("it {}, and the layers before it are late by {} step{}", does,
                           before.count, before.count == 1 ? "" : "s");
  out.cure = cure.empty() ? "put it before the layers that are late, or make those causal" : cure;
  return out;
}

}  // namespace sl
