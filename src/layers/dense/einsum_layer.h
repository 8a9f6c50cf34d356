// Base of the dense layers: a stateless layer that is an einsum with kernel, bias and activation.
#pragma once

#include <utility>

#include "layers/layer.h"
#include "ops/einsum.h"

namespace sl {

class EinsumLayer : public StatelessLayer {
 public:
  std::optional<ChannelSpec> implied_input() const override {
    const auto shape = einsum_.implied_input();
    return shape ? std::optional(ChannelSpec{DType::kFloat32, *shape}) : std::nullopt;
  }

 protected:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return einsum_.output_spec(input);
  }

  explicit EinsumLayer(ops::Einsum einsum) : einsum_(std::move(einsum)) {}

 private:
  Sequence do_layer(Run& run, const Sequence& x) const override { return einsum_.apply(run, x); }

  ops::Einsum einsum_;
};

}  // namespace sl
