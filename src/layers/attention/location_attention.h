// Attention to a source that also depends on where it looked at the step before: its location,
// numbers for each step of the source.
#pragma once

#include "layers/attention/source_attention.h"

namespace sl {

class LocationAttention : public SourceAttention {
 public:
  ReceptiveFields receptive_field_per_step() const final { return {StepRange{-kInfinite, 0}}; }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final;
  Sequence do_layer(Run& run, const Sequence& x) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;

 protected:
  // As for SourceAttention; a location has `features` numbers for each head and step.
  LocationAttention(std::string source, int64_t heads, int64_t features)
      : SourceAttention(std::move(source), heads, "probabilities"), features_(features) {}

  // [batch, heads, source time, features], perhaps without axes of one.
  virtual Shape location_shape(int64_t batch, int64_t time) const = 0;
  // What the layer keeps of the source, if anything.
  virtual void declare_source(Declaration&, const SequenceSpec&) const {}
  // `location` is that of the last step on return.
  virtual Sequence look(Run& run, const Sequence& x, float* location) const = 0;

 private:
  StepDifference step_difference(const EarlySteps& before) const final {
    return minds_early_steps(before, "advances on invalid steps too");
  }
  // A stream has looked at the source's first step before.
  void start(float* location, int64_t batch, int64_t time) const;

  int64_t features_;
};

}  // namespace sl
