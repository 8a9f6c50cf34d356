// Base of layers that permute the channel axes.
#pragma once

#include <array>
#include <span>

#include "layers/shape/channel_axes.h"
#include "layers/shape/viewing_layer.h"

namespace sl {

class PermutingLayer : public ViewingLayer {
 public:
  // Output axis i is input axis axes[i]; both are numbered among the channels.
  using Axes = std::array<int, Shape::kMaxRank>;

 private:
  // Fails with kShape if the axes do not fit the channels.
  virtual Axes permutation(const Shape& channels) const = 0;

  Viewed viewed(const Shape& channels) const final {
    const Axes axes = permutation(channels);
    const auto view = ops::permuted(ops::dense_view(channels),
                                    std::span(axes).first(static_cast<size_t>(channels.rank())));
    return {view, view.dims};
  }
};

}  // namespace sl
