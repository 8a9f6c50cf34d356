// Base of attention to a source that depends on the weights of the previous step. It keeps them as
// its location: features of each step of the source.
#pragma once

#include "layers/attention/source_attention.h"

namespace sl {

class LocationAttention : public SourceAttention {
 public:
  ReceptiveFields receptive_field_per_step() const final { return {StepRange{-kInfinite, 0}}; }

 protected:
  // A location has `features` numbers for each head and step of the source.
  LocationAttention(std::string source, int64_t heads, int64_t features)
      : SourceAttention(std::move(source), heads, "probabilities"), features_(features) {}

  // The shape of a location: [batch, heads, source time, features], perhaps without axes of size 1.
  virtual Shape location_shape(int64_t batch, int64_t time) const = 0;
  // Declares what a stream keeps of the source, if anything.
  virtual void declare_source(Declaration&, const SequenceSpec&) const {}
  // Attends from each step of x in order. `location` is that before the first step, and on return
  // that of the last step.
  virtual Sequence look(Run& run, const Sequence& x, float* location) const = 0;

 private:
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final;
  Sequence do_layer(Run& run, const Sequence& x) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;

  StepDifference step_difference(const EarlySteps& before) const final {
    return minds_early_steps(before, "advances on invalid steps too");
  }
  // Sets the location at the start of a stream, which is all on the first step of the source.
  void start(float* location, int64_t batch, int64_t time) const;

  int64_t features_;
};

}  // namespace sl
