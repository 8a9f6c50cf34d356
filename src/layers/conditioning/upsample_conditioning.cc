// UpsampleConditioning: y[t] = combine(x[t], project(c[t / ratio])) for a slower constant sequence
// c; the projection is optional. Steps after the end of c are invalid (reference: tensorflow
// conditioning.UpsampleConditioning).
#include <algorithm>
#include <cstring>

#include "core/ratio.h"
#include "layers/conditioning/mixing.h"
#include "layers/stream_position.h"

namespace sl {
namespace {

class UpsampleConditioning final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : mixing(config, {"add", "concat", "affine"}), ratio(config.integer("upsample_ratio", 1)) {
      mixing.read_name(config);
    }
    Mixing::Fields mixing;
    int64_t ratio;
  };

  UpsampleConditioning(Fields fields, const Init& init)
      : constant_(fields.mixing.constant),
        ratio_(fields.ratio),
        mixing_(std::move(fields.mixing), init.weights) {}

  std::vector<ConstantSpec> constants() const override {
    ConstantSpec spec = mixing_.constant();
    spec.kind = ConstantSpec::Kind::kSequence;
    return {spec};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return mixing_.output_spec(input, constants.get(constant_).sequence.spec());
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode == Mode::kStep) declare_positions(declaration, input.batch);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return mix(run, x, StreamPositions());
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    return mix(run, x, take_positions(run, x.batch, x.time));
  }

  StepDifference step_difference(const EarlySteps& before) const override {
    return minds_early_steps(before, "counts invalid steps too");
  }

  // Combines x, whose items begin at the given positions, with the constant, whose steps are each
  // projected once.
  Sequence mix(Run& run, const Sequence& x, const StreamPositions& positions) const {
    const Sequence& whole = run.constants().get(constant_).sequence;
    // The maximum number of steps that x can meet at any position, so that all calls of its length
    // need the same scratch.
    const int64_t count = x.time == 0 ? 0 : ceil_div(x.time - 1, ratio_) + 1;
    const Sequence taken =
        take_steps(run, whole, count, [&](int64_t b) { return positions.of(b) / ratio_; });
    const Sequence slow = mixing_.project(run, x.spec(), taken);
    const Sequence c = run.scratch_sequence(slow.spec(), slow.batch, x.time);
    for (int64_t b = 0; b < c.batch; ++b) {
      const int64_t offset = positions.of(b) % ratio_;
      for (int64_t t = 0; t < c.time; ++t) {
        const int64_t from = (offset + t) / ratio_;
        std::memcpy(c.frame(b, t), slow.frame(b, from), c.frame_bytes());
        *c.mask_at(b, t) = *slow.mask_at(b, from);
      }
    }
    return mixing_.combine(run, x, c);
  }

  std::string constant_;
  int64_t ratio_;
  Mixing mixing_;
};

SL_REGISTER_LAYER(UpsampleConditioning);

}  // namespace
}  // namespace sl
