// Base of layers that are a chain of other layers; a derived class overrides what differs.
#pragma once

#include <utility>
#include <vector>

#include "combinators/chain.h"

namespace sl {

class ChainLayer : public Layer {
 public:
  std::vector<const Layer*> children() const override { return chain_.layers(); }
  std::vector<ChannelSpec> child_inputs(const ChannelSpec& input,
                                        const Constants& constants) const override {
    return chain_.inputs(input, constants);
  }
  int64_t block_size() const override { return chain_.block_size(); }
  Ratio output_ratio() const override { return chain_.output_ratio(); }
  bool supports_step() const override { return chain_.supports_step(); }
  bool supports_finite_step() const override { return chain_.supports_finite_step(); }
  int64_t input_latency() const override { return chain_.accumulated_input_latency(0); }
  int64_t output_latency() const override { return chain_.accumulated_output_latency(0); }
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    return chain_.follow(before, differences);
  }
  ReceptiveFields receptive_field_per_step() const override {
    return chain_.receptive_field_per_step();
  }
  std::optional<ChannelSpec> implied_input() const override { return chain_.implied_input(); }
  bool returns_view() const override { return chain_.returns_view(); }

 protected:
  explicit ChainLayer(Layers layers) : chain_(std::move(layers)) {}
  const Chain& chain() const { return chain_; }

 private:
  int64_t do_accumulated_input_latency(int64_t latency) const override {
    return chain_.accumulated_input_latency(latency);
  }
  int64_t do_accumulated_output_latency(int64_t latency) const override {
    return chain_.accumulated_output_latency(latency);
  }
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    return chain_.output_spec(input, constants);
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants& constants) const override {
    return chain_.output_length(time, input, constants);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return chain_.run(run, x); }
  Sequence do_step(Run& run, const Sequence& x) const override { return chain_.run(run, x); }

  Chain chain_;
};

}  // namespace sl
