// Base of gated units: y = f(a) g(b), where a and b are the halves of the last channel axis.
#pragma once

#include <optional>

#include "layers/builder.h"
#include "ops/activation.h"

namespace sl {

class GatedUnitLayer : public StatelessLayer {
 protected:
  GatedUnitLayer(Activation feature, Activation gate) : feature_(feature), gate_(gate) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override;
  Sequence do_layer(Run& run, const Sequence& x) const override;

  // The output dtype; empty if the activations do not support the input.
  std::optional<DType> output_dtype(DType input) const;
  void across(Run& run, const Sequence& x, const Sequence& y) const;
  void row(const std::byte* x, DType dtype, std::byte* y, int64_t count) const;
  void whole_row(const std::byte* x, DType dtype, std::byte* y, DType y_dtype, int64_t count,
                 float* scratch) const;

  Activation feature_;
  Activation gate_;
};

}  // namespace sl
