// A product over all channel axes that has the channel shape asked for: DenseShaped, and what other
// layers project with.
#pragma once

#include <optional>

#include "layers/weights.h"
#include "ops/einsum.h"

namespace sl {

class ShapedDense {
 public:
  // Takes "kernel", of the input's channel shape and then `output_shape`, and "bias". Scalar
  // channels are one channel to them.
  ShapedDense(const WeightScope& weights, const Shape& output_shape, bool use_bias,
              std::optional<Activation> activation, DType param_dtype,
              std::optional<DType> compute_dtype);

  const Shape& output_shape() const { return output_shape_; }
  ChannelSpec output_spec(const ChannelSpec& input) const;
  // Channel shape of the input; [1] stands for scalar channels too.
  Shape implied_input() const { return *einsum_.implied_input(); }
  Sequence apply(Run& run, const Sequence& x) const;

 private:
  Shape output_shape_;
  ops::Einsum einsum_;
};

}  // namespace sl
