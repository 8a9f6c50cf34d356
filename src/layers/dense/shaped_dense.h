// A dense product over all channel axes with a given output shape, for DenseShaped and the
// projections of other layers.
#pragma once

#include <optional>

#include "layers/weights.h"
#include "ops/einsum.h"

namespace sl {

class ShapedDense {
 public:
  // Reads "kernel", whose shape is the input's channel shape followed by `output_shape`, and
  // "bias". In both, scalar channels count as one channel.
  ShapedDense(const WeightScope& weights, const Shape& output_shape, bool use_bias,
              std::optional<Activation> activation, DType param_dtype,
              std::optional<DType> compute_dtype);

  const Shape& output_shape() const { return output_shape_; }
  ChannelSpec output_spec(const ChannelSpec& input) const;
  // The channel shape of the input; [1] also stands for scalar channels.
  Shape implied_input() const { return *einsum_.implied_input(); }
  Sequence apply(Run& run, const Sequence& x) const;

 private:
  Shape output_shape_;
  bool needs_channels_;  // for the activation
  ops::Einsum einsum_;
};

}  // namespace sl
