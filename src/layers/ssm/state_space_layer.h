// Base of the linear state-space layers: float32 channels, as many out as in, a state of floats,
// and invalid steps that count as zeros.
#pragma once

#include <algorithm>

#include "layers/builder.h"
#include "ops/elementwise.h"

namespace sl {

class StateSpaceLayer : public Layer {
 public:
  ReceptiveFields receptive_field_per_step() const override { return {StepRange{-kInfinite, 0}}; }

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, {channels_}};
  }

 protected:
  explicit StateSpaceLayer(int64_t channels) : channels_(channels) {}

  int64_t channels() const { return channels_; }
  virtual Shape state_shape(int64_t batch) const = 0;
  // Runs a whole sequence. The mask of y is already set.
  virtual void whole(Run& run, const Sequence& x, const Sequence& y) const {
    const int64_t size = state_shape(x.batch).size();
    auto* state = run.scratch<float>(size);
    std::fill(state, state + size, 0.0f);
    scan(run, x, state, y);
  }
  virtual void scan(Run& run, const Sequence& x, float* state, const Sequence& y) const = 0;

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input != ChannelSpec{DType::kFloat32, {channels_}}) {
      fail(Code::kShape, "expected float32 channels [{}], got {} {}", channels_,
           name_of(input.dtype), to_string(input.shape));
    }
    return input;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.state("x", DType::kFloat32, state_shape(input.batch));
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, x.spec());
    whole(run, ops::mask_invalid(run, x), y);
    return y;
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, x.spec());
    scan(run, ops::mask_invalid(run, x), run.state<float>("x"), y);
    return y;
  }

  int64_t channels_;
};

}  // namespace sl
