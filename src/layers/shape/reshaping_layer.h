// Base of layers that only give the channels another shape and copy nothing.
#pragma once

#include "layers/builder.h"
#include "layers/identity/no_fields.h"

namespace sl {

class ReshapingLayer : public StatelessLayer {
 public:
  bool returns_view() const override { return true; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return {input.dtype, reshaped(input.shape)};
  }
  Sequence do_layer(Run&, const Sequence& x) const override {
    return x.with_channels(reshaped(x.channels));
  }

  // Fails with kShape if the channels do not fit.
  virtual Shape reshaped(const Shape& channels) const = 0;
};

}  // namespace sl
