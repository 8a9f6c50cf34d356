// MaskedDense: y[t] = activation(sum over s <= t of x[s] W[s, t] + b[t]), with weights for each
// pair of steps (reference: time_varying.MaskedDense).
#include <algorithm>

#include "layers/time_varying/time_dense_layer.h"

namespace sl {
namespace {

class MaskedDense final : public TimeDenseLayer {
 public:
  using Fields = TimeDenseFields;

  MaskedDense(Fields fields, const Init& init)
      : TimeDenseLayer(fields,
                       init.weights.get("kernel", {fields.num_steps, fields.num_steps, kAnySize,
                                                   fields.features}),
                       init.weights) {
    // Concatenate, for each output step, the rows of all input steps up to it, so that it is one
    // product.
    const std::vector<float> kernel = take_kernel();
    const int64_t size = inputs() * fields.features;
    std::vector<float> rows(static_cast<size_t>(num_steps() * size));
    for (int64_t t = 0; t < num_steps(); ++t) {
      for (int64_t s = 0; s <= t; ++s) {
        std::copy_n(kernel.data() + (s * num_steps() + t) * size, size, rows.data() + s * size);
      }
      add_product(rows.data(), (t + 1) * inputs());
    }
  }

  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{1 - num_steps(), 0}};
  }

 private:
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode != Mode::kStep) return;
    Shape shape{input.batch, num_steps(), inputs()};
    if (parts(input.channels.dtype) > 1) shape.insert(1, parts(input.channels.dtype));
    declaration.state("inputs", DType::kFloat32, shape);
    declare_positions(declaration, input.batch, num_steps());
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (x.time > num_steps()) {
      fail(Code::kShape, "{} steps are more than num_steps, {}", x.time, num_steps());
    }
    const float* values = rows_of(run, ops::mask_invalid(run, x));
    return apply(run, x, {values, x.time * inputs(), 0}, StreamPositions());
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    auto* history = run.state<float>("inputs");
    const StreamPositions positions = take_positions(run, x.batch, x.time, num_steps());
    const int64_t item = num_steps() * inputs(), rows = parts(x.dtype);
    const float* values = rows_of(run, x);
    for (int64_t i = 0; i < x.batch * rows; ++i) {
      const int64_t first = positions.of(i / rows), taken = std::min(x.time, num_steps() - first);
      for (int64_t t = 0; t < taken; ++t) {
        float* to = history + i * item + (first + t) * inputs();
        if (*x.mask_at(i / rows, t)) {
          std::copy_n(values + (i * x.time + t) * inputs(), inputs(), to);
        } else {
          std::fill_n(to, inputs(), 0.0f);
        }
      }
    }
    return apply(run, x, {history, item, 0}, positions);
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    return minds_early_steps(before, "counts invalid steps too");
  }
};

SL_REGISTER_LAYER(MaskedDense);

}  // namespace
}  // namespace sl
