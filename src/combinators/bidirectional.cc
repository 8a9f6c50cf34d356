// Bidirectional: y = combine(forward(x), reverse(backward(reverse(x)))), with broadcasting
// (reference: combinators.Bidirectional).
#include <algorithm>

#include "layers/builder.h"
#include "ops/combine.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

// A copy of x in scratch with all of its steps and mask, valid or not, in reverse order.
Sequence reversed(Run& run, const Sequence& x) {
  const Sequence y = run.scratch_sequence(x.spec(), x.batch, x.time);
  for (int64_t b = 0; b < x.batch; ++b) {
    ops::copy_reversed(x.frame(b, 0), x.frame_bytes(), x.time, y.frame(b, 0));
    std::reverse_copy(x.mask_at(b, 0), x.mask_at(b, x.time), y.mask_at(b, 0));
  }
  return y;
}

// The receptive field of a layer that runs on the reversed input.
ReceptiveField mirrored(const ReceptiveField& field) {
  if (!field) return field;
  return StepRange{-field->end, -field->start};
}

class Bidirectional final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : forward(config.nested_required("forward")),
          backward(config.nested_required("backward")),
          combination(ops::read_combination(config)),
          path(config.path()) {}
    Config forward;
    Config backward;
    ops::Combination combination;
    std::string path;
  };

  Bidirectional(Fields fields, const Init& init)
      : forward_(init.builder.build(fields.forward, init.weights, "forward")),
        backward_(init.builder.build(fields.backward, init.weights, "backward")),
        combination_(fields.combination) {
    const Ratio forward = forward_->output_ratio(), backward = backward_->output_ratio();
    if (forward != backward) {
      fail(Code::kConfig,
           "{} (Bidirectional): forward and backward must have the same output ratio, they have "
           "{}/{} and {}/{}",
           fields.path, forward.numerator(), forward.denominator(), backward.numerator(),
           backward.denominator());
    }
  }

  std::vector<const Layer*> children() const override { return {forward_.get(), backward_.get()}; }
  Ratio output_ratio() const override { return forward_->output_ratio(); }
  bool supports_step() const override { return false; }
  std::string step_obstacle() const override {
    return "its backward layer begins with the last step, which a stream does not know: use "
           "its forward layer alone";
  }
  // A layer that cannot step has no latency, even if its children have some.
  int64_t input_latency() const override { return 0; }
  ReceptiveFields receptive_field_per_step() const override {
    const ReceptiveFields forward = forward_->receptive_field_per_step();
    const ReceptiveFields backward = backward_->receptive_field_per_step();
    const size_t cycle = common_cycle(forward.size(), backward.size());
    ReceptiveFields fields;
    for (size_t i = 0; i < cycle; ++i) {
      fields.push_back(
          merge(forward[i % forward.size()], mirrored(backward[(cycle - i) % backward.size()])));
    }
    return fields;
  }
  // The layer runs over whole inputs only. Its backward layer begins with the padding at their end;
  // where the inputs are themselves reversed, its forward layer does.
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    using Kind = EarlySteps::Kind;
    EarlySteps none, padding;
    none.kind = Kind::kNone;
    padding.kind = Kind::kPadding;
    padding.count = 1;
    const bool is_backward = before.kind == Kind::kPadding;
    differences.within(forward_->name(),
                       [&] { forward_->follow(is_backward ? padding : none, differences); });
    differences.within(backward_->name(),
                       [&] { backward_->follow(is_backward ? none : padding, differences); });
    return before;
  }
  std::optional<ChannelSpec> implied_input() const override { return forward_->implied_input(); }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec specs[2] = {forward_->output_spec(input, constants),
                                  backward_->output_spec(input, constants)};
    return ops::combined_spec(combination_, specs);
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants& constants) const override {
    const int64_t forward = forward_->output_length(time, input, constants),
                  backward = backward_->output_length(time, input, constants);
    if (forward != backward) {
      fail(Code::kShape, "from {} steps forward makes {} and backward {}", time, forward, backward);
    }
    return forward;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.within(forward_->name(), "0", [&] { forward_->declare(declaration, input); });
    declaration.within(backward_->name(), "1", [&] { backward_->declare(declaration, input); });
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Side inner = other(run.side());
    const Sequence forward = call(run, *forward_, x, inner);
    const Sequence backward = call(run, *backward_, reversed(run, x), inner);
    const Sequence outputs[2] = {forward, reversed(run, backward)};
    return ops::combine(run, combination_, outputs);
  }
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }

  std::unique_ptr<Layer> forward_;
  std::unique_ptr<Layer> backward_;
  ops::Combination combination_;
};

SL_REGISTER_LAYER(Bidirectional);

}  // namespace
}  // namespace sl
