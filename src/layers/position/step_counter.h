// Where in its sequence a step is: how many steps, or how many valid ones, come before it. In a
// stream the count goes on from call to call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "layers/layer.h"

namespace sl {

// Positions of the steps of a call. Those of all items may be the same.
struct Positions {
  const float* values = nullptr;
  int64_t item_pitch = 0;

  float at(int64_t b, int64_t t) const { return values[b * item_pitch + t]; }
};

class StepCounter {
 public:
  explicit StepCounter(bool valid_only) : valid_only_(valid_only) {}

  bool valid_only() const { return valid_only_; }
  // What its layer, which has other reasons to differ, says of steps before the first.
  StepDifference step_difference(const EarlySteps& before, const StepDifference& other,
                                 const std::string& cure = kCure) const {
    if (valid_only_ || before.count == 0) return other;
    return minds_early_steps(before, "counts invalid steps too", cure);
  }
  ReceptiveFields receptive_field() const { return {StepRange{valid_only_ ? -kInfinite : 0, 0}}; }
  void declare(Declaration& declaration, const SequenceSpec& input) const {
    if (input.mode == Mode::kLayer) return;
    declaration.state("position", DType::kInt32, {valid_only_ ? input.batch : 1});
  }
  Positions count(Run& run, const Sequence& x) const {
    const int64_t items = valid_only_ ? x.batch : 1;
    auto* values = run.scratch<float>(items, x.time);
    auto* next = run.mode() == Mode::kStep ? run.state<uint32_t>() : nullptr;
    for (int64_t b = 0; b < items; ++b) {
      uint32_t position = next ? next[b] : 0;
      for (int64_t t = 0; t < x.time; ++t) {
        values[b * x.time + t] = static_cast<float>(static_cast<int32_t>(position));
        position += valid_only_ ? *x.mask_at(b, t) : 1;
      }
      if (next) next[b] = position;
    }
    return {values, valid_only_ ? x.time : 0};
  }

 private:
  static constexpr const char* kCure =
      "let it have \"only_advance_position_for_valid_timesteps\": true";

  bool valid_only_;
};

}  // namespace sl
