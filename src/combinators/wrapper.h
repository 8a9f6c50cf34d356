// Base of layers that delegate everything to one child; a derived class overrides what differs
// (reference: combinators.WrapperMixin).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "layers/builder.h"

namespace sl {

class Wrapper : public Layer {
 public:
  std::vector<const Layer*> children() const override { return {child_.get()}; }
  int64_t block_size() const override { return child_->block_size(); }
  Ratio output_ratio() const override { return child_->output_ratio(); }
  bool supports_step() const override { return child_->supports_step(); }
  bool supports_finite_step() const override { return child_->supports_finite_step(); }
  int64_t input_latency() const override { return child_->input_latency(); }
  int64_t output_latency() const override { return child_->output_latency(); }
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    EarlySteps after;
    differences.within(child_->name(), [&] { after = child_->follow(before, differences); });
    return after;
  }
  ReceptiveFields receptive_field_per_step() const override {
    return child_->receptive_field_per_step();
  }
  std::optional<ChannelSpec> implied_input() const override { return child_->implied_input(); }
  bool returns_view() const override { return child_->returns_view(); }

 protected:
  explicit Wrapper(std::unique_ptr<Layer> child) : child_(std::move(child)) {}
  const Layer& child() const { return *child_; }

 private:
  int64_t do_accumulated_input_latency(int64_t latency) const override {
    return child_->accumulated_input_latency(latency);
  }
  int64_t do_accumulated_output_latency(int64_t latency) const override {
    return child_->accumulated_output_latency(latency);
  }
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return child_->output_spec(input, constants);
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants& constants) const override {
    return child_->output_length(time, input, constants);
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.within(child_->name(), "", [&] { child_->declare(declaration, input); });
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return child_->layer(run, x); }
  Sequence do_step(Run& run, const Sequence& x) const override { return child_->step(run, x); }

  std::unique_ptr<Layer> child_;
};

}  // namespace sl
