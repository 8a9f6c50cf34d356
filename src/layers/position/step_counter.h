// Counts the position of a step in its sequence: the number of steps, or of valid steps, before it.
// In a stream the count continues from call to call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "layers/layer.h"

namespace sl {

// Positions of the steps of a call, [items, time]. There is only one item if all have equal
// positions.
struct Positions {
  const float* values = nullptr;
  int64_t item_pitch = 0;
  int64_t items = 1;
  int64_t max_items = 1;  // maximum number of items in any call of this size, for scratch

  float at(int64_t b, int64_t t) const { return values[b * item_pitch + t]; }
};

class StepCounter {
 public:
  explicit StepCounter(bool valid_only) : valid_only_(valid_only) {}

  bool valid_only() const { return valid_only_; }
  // The step difference of a layer with this counter, or `other` if the counter makes none.
  StepDifference step_difference(const EarlySteps& before, const StepDifference& other,
                                 const std::string& cure = kCure) const {
    if (valid_only_ || before.count == 0) return other;
    return minds_early_steps(before, "counts invalid steps too", cure);
  }
  ReceptiveFields receptive_field() const { return {StepRange{valid_only_ ? -kInfinite : 0, 0}}; }
  void declare(Declaration& declaration, const SequenceSpec& input) const {
    if (input.mode == Mode::kLayer) return;
    declaration.state("position", DType::kInt32, {input.batch});
  }
  Positions count(Run& run, const Sequence& x) const {
    const bool steps = run.mode() == Mode::kStep;
    const auto kept = steps ? run.state<uint32_t>("position") : StateItems<uint32_t>();
    uint32_t* const next = kept;
    const int64_t max_items = valid_only_ || next ? x.batch : 1;
    auto* values = run.scratch<float>(max_items, x.time);
    const bool are_equal =
        !valid_only_ &&
        (!next || std::all_of(next, next + x.batch, [&](auto n) { return n == *next; }));
    const int64_t items = are_equal ? 1 : x.batch;
    for (int64_t b = 0; b < items; ++b) {
      uint32_t position = next ? next[b] : 0;
      for (int64_t t = 0; t < x.time; ++t) {
        values[b * x.time + t] = static_cast<float>(static_cast<int32_t>(position));
        position += valid_only_ ? *x.mask_at(b, t) : 1;
      }
      if (next) next[b] = position;
    }
    if (next && are_equal) std::fill_n(next, x.batch, *next);
    return {values, are_equal ? 0 : x.time, items, max_items};
  }

 private:
  static constexpr const char* kCure =
      "let it have \"only_advance_position_for_valid_timesteps\": true";

  bool valid_only_;
};

}  // namespace sl
