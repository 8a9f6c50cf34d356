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
      : TimeDenseLayer(fields, read_products(fields, init.weights), init.weights) {}

  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{1 - num_steps(), 0}};
  }

 private:
  // The rows of all input steps up to an output step are concatenated, so that it is one product.
  static std::vector<ops::Linear> read_products(const Fields& fields, const WeightScope& weights) {
    const int64_t steps = fields.num_steps;
    const WeightSource kernel = weights.source("kernel", {steps, steps, kAnySize, fields.features});
    const int64_t inputs = kernel.tensor.shape[2];
    const int64_t size = inputs * fields.features;
    std::vector<float> values, rows;
    std::vector<ops::Linear> products;
    for (int64_t t = 0; t < steps; ++t) {
      products.emplace_back(weights.panels(
          {kernel}, fmt::format("step{}", t), {1, (t + 1) * inputs, fields.features},
          [&](const ops::Panels::Pack& pack) {
            if (values.empty()) {
              values = to_floats(kernel.tensor);
              if (fields.dense.compute_dtype)
                ops::round_to(*fields.dense.compute_dtype, values.data(),
                              static_cast<int64_t>(values.size()));
              rows.resize(static_cast<size_t>(steps * size));
            }
            for (int64_t s = 0; s <= t; ++s) {
              std::copy_n(values.data() + (s * steps + t) * size, size, rows.data() + s * size);
            }
            pack(0, rows.data(), fields.features, 1);
          }));
    }
    return products;
  }

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
    const auto history = run.state<float>("inputs");
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
