// AddTimingSignal: y[t] = x[t] + sinusoids(position of t), over all or some of the channel axes
// (reference: position.AddTimingSignal).
#include <optional>
#include <vector>

#include "layers/builder.h"
#include "layers/position/step_counter.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"
#include "ops/timing_signal.h"

namespace sl {
namespace {

using kernels::Binary;

class AddTimingSignal final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : timescales(config),
          trainable_scale(config.boolean("trainable_scale", false)),
          axes(config.optional_integers("axes")),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)),
          valid_only(config.boolean("only_advance_position_for_valid_timesteps", true)) {
      if (!is_float(param_dtype)) config.error("param_dtype", "expected a float dtype");
      config.ignore({"sharding"});
    }
    ops::Timescales timescales;
    bool trainable_scale;
    std::optional<std::vector<int64_t>> axes;  // empty: all axes
    DType param_dtype;
    bool valid_only;
  };

  AddTimingSignal(Fields fields, const Init& init)
      : fields_(std::move(fields)), counter_(fields_.valid_only) {
    if (fields_.trainable_scale) scale_ = init.weights.floats("scale", {})[0];
  }

  ReceptiveFields receptive_field_per_step() const override { return counter_.receptive_field(); }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (!is_float(input.dtype)) {
      fail(Code::kShape, "expected inputs of a float dtype, got {}", name_of(input.dtype));
    }
    signal_shape(input.shape);
    return input;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    counter_.declare(declaration, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override;
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }

  StepDifference step_difference(const EarlySteps& before) const override {
    return counter_.step_difference(before, Layer::step_difference(before));
  }
  // The shape of the signal: the size of the channels on the axes over which it varies, 1
  // elsewhere.
  Shape signal_shape(const Shape& channels) const {
    if (!fields_.axes) return channels;
    Shape out;
    for (int i = 0; i < channels.rank(); ++i) out.push_back(1);
    for (const int64_t axis : *fields_.axes) {
      const int64_t i = axis < 0 ? axis + channels.rank() : axis;
      if (i < 0 || i >= channels.rank()) {
        fail(Code::kShape, "axis {} of \"axes\" is not one of the input's channels {}", axis,
             to_string(channels));
      }
      out[static_cast<int>(i)] = channels[static_cast<int>(i)];
    }
    return out;
  }
  // Scales the signal and rounds it to the dtype of the parameters and then to `dtype`.
  void scale(float* signal, int64_t count, DType dtype) const {
    ops::round_to(fields_.param_dtype, signal, count);
    if (scale_) {
      kernels::binary_scalar(Binary::kMultiply, signal, *scale_, signal, count);
      ops::round_to(fields_.param_dtype, signal, count);
    }
    ops::round_to(dtype, signal, count);
  }

  Fields fields_;
  StepCounter counter_;
  std::optional<float> scale_;
};

Sequence AddTimingSignal::do_layer(Run& run, const Sequence& x) const {
  const Sequence y = run.output_like(x, x.spec());
  const Positions positions = counter_.count(run, x);
  const Shape shape = signal_shape(x.channels);
  const auto make = [&](const Shape& channels) {
    Sequence out = run.scratch_sequence({DType::kFloat32, channels}, positions.max_items, x.time);
    out.batch = positions.items;
    return out;
  };
  Sequence signal = make(shape);
  auto* frequencies = run.scratch<float>(shape.size() / 2);
  ops::timing_frequencies(fields_.timescales, frequencies, shape.size() / 2);
  ops::timing_signal(run, frequencies, positions.values, signal.steps(), shape.size(),
                     signal.floats());
  ops::for_steps(run, signal.steps(), shape.size(), [&](int64_t begin, int64_t end) {
    scale(signal.floats() + begin * shape.size(), (end - begin) * shape.size(), x.dtype);
  });
  if (shape != x.channels) {
    const Sequence all = make(x.channels);
    ops::gather_steps(run, signal, ops::broadcast_view(shape, x.channels), all.values);
    signal = all;
  }
  const int64_t frame = x.frame_size();
  ops::for_steps(run, x.steps(), frame, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* added = signal.floats() + i % signal.steps() * frame;
      const size_t at = static_cast<size_t>(i) * x.frame_bytes();
      if (x.dtype == DType::kFloat32) {
        kernels::binary(Binary::kAdd, x.floats() + i * frame, added, y.floats() + i * frame, frame);
        continue;
      }
      ops::map_as_floats(x.values + at, x.dtype, y.values + at, y.dtype, frame,
                         [&](float* values, int64_t first, int64_t n) {
                           kernels::binary(Binary::kAdd, values, added + first, values, n);
                         });
    }
  });
  return y;
}

SL_REGISTER_LAYER(AddTimingSignal);

}  // namespace
}  // namespace sl
