// Base of layers that permute the channel axes.
#pragma once

#include <array>
#include <span>

#include "layers/builder.h"
#include "layers/shape/channel_axes.h"
#include "ops/rearrange.h"

namespace sl {

class PermutingLayer : public StatelessLayer {
 public:
  // Output axis i is input axis axes[i]; both are numbered among the channels.
  using Axes = std::array<int, Shape::kMaxRank>;

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return {input.dtype, view_of(input.shape).dims};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const ops::StridedView view = view_of(x.channels);
    return ops::rearrange(run, x, view, view.dims);
  }

  // Fails with kShape if the axes do not fit the channels.
  virtual Axes permutation(const Shape& channels) const = 0;

  ops::StridedView view_of(const Shape& channels) const {
    const Axes axes = permutation(channels);
    return ops::permuted(ops::dense_view(channels),
                         std::span(axes).first(static_cast<size_t>(channels.rank())));
  }
};

}  // namespace sl
