// SequenceDense: y[t] = activation(x[t] W[t] + b[t]), with weights for each step (reference:
// time_varying.SequenceDense).
#include "layers/time_varying/time_dense_layer.h"

namespace sl {
namespace {

class SequenceDense final : public TimeDenseLayer {
 public:
  using Fields = TimeDenseFields;

  SequenceDense(Fields fields, const Init& init)
      : TimeDenseLayer(
            fields,
            init.weights.matrices("kernel", {fields.num_steps, kAnySize, fields.features},
                                  {.rounded = fields.dense.compute_dtype}),
            init.weights) {}

 private:
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode == Mode::kStep) declare_positions(declaration, input.batch, num_steps());
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return steps_from(run, x, StreamPositions());
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    return steps_from(run, x, take_positions(run, x.batch, x.time, num_steps()));
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    return minds_early_steps(before, "counts invalid steps too");
  }
  Sequence steps_from(Run& run, const Sequence& x, const StreamPositions& positions) const {
    const float* values = rows_of(run, x);
    return apply(run, x, {values, x.time * inputs(), inputs()}, positions);
  }
};

SL_REGISTER_LAYER(SequenceDense);

}  // namespace
}  // namespace sl
