// Conditioning: y[t] = combine(x[t], project(c[t])) for a constant sequence c as long as x, or one
// step that serves all of x; the projection is optional (reference: conditioning.Conditioning).
#include <cstring>

#include "layers/conditioning/mixing.h"
#include "layers/stream_position.h"

namespace sl {
namespace {

class Conditioning final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : mixing(config, {"add", "concat", "affine", "affine_shift", "affine_scale", "mul",
                          "concat_before"}),
          streaming(config.boolean("streaming", false)) {
      mixing.read_name(config);
      mixing.param_dtype = config.dtype("param_dtype", DType::kFloat32);
      mixing.compute_dtype = config.optional_dtype("compute_dtype");
      mixing.read_projection(config);
    }
    Mixing::Fields mixing;
    bool streaming;
  };

  Conditioning(Fields fields, const Init& init)
      : constant_(fields.mixing.constant),
        streaming_(fields.streaming),
        mixing_(std::move(fields.mixing), init.weights) {}

  std::vector<ConstantSpec> constants() const override {
    ConstantSpec spec = mixing_.constant();
    spec.streamed = streaming_;
    spec.broadcasts = true;
    return {spec};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const Constant& constant = constants.get(constant_);
    return mixing_.output_spec(input, {constant.sequence.dtype, constant.channels()});
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode != Mode::kStep) return;
    const Constant& constant = declaration.constants().get(constant_);
    if (is_sliced(constant)) declare_positions(declaration, input.batch);
    if (streaming_) check_time(constant, input.time);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Constant& constant = run.constants().get(constant_);
    check_time(constant, x.time);
    return mix(run, x, as_sequence(run, constant));
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const Constant& constant = run.constants().get(constant_);
    return mix(
        run, x,
        is_sliced(constant) ? slice(run, constant.sequence, x.time) : as_sequence(run, constant));
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    if (streaming_) return Layer::step_difference(before);
    return minds_early_steps(
        before, fmt::format("takes a step of \"{}\", if that has several, for each step of its "
                            "input, valid or not",
                            constant_));
  }

  // Whether a stream takes the steps of its block from a whole sequence. A constant of one step
  // serves all steps instead, as in a layer-wise run.
  bool is_sliced(const Constant& constant) const {
    return !constant.is_array && !streaming_ && constant.sequence.time != 1;
  }

  void check_time(const Constant& constant, int64_t time) const {
    const int64_t given = constant.sequence.time;
    if (constant.is_array || given == time || given == 1) return;
    fail(Code::kShape, "constant \"{}\" has {} steps: expected {}, as x has", constant_, given,
         time);
  }

  // Turns an array, which serves all steps, into a sequence of one valid step.
  static Sequence as_sequence(Run& run, const Constant& constant) {
    Sequence out = constant.sequence;
    if (!constant.is_array) return out;
    out.channels = constant.channels();
    out.batch = constant.batch();
    out.time = 1;
    out.mask = run.scratch<uint8_t>(out.batch);
    std::memset(out.mask, 1, static_cast<size_t>(out.batch));
    return out;
  }

  // Takes the next `time` steps of a whole constant.
  static Sequence slice(Run& run, const Sequence& whole, int64_t time) {
    const StreamPositions positions = take_positions(run, whole.batch, time);
    return take_steps(run, whole, time, [&](int64_t b) { return positions.of(b); });
  }

  Sequence mix(Run& run, const Sequence& x, const Sequence& constant) const {
    return mixing_.combine(run, x, mixing_.project(run, x.spec(), constant));
  }

  std::string constant_;
  bool streaming_;
  Mixing mixing_;
};

SL_REGISTER_LAYER(Conditioning);

}  // namespace
}  // namespace sl
