// Base of layers whose frames are strided views of their input's frames.
#pragma once

#include "layers/builder.h"
#include "ops/rearrange.h"

namespace sl {

class ViewingLayer : public StatelessLayer {
 protected:
  struct Viewed {
    ops::StridedView view;
    Shape channels;  // of the output
  };

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return {input.dtype, viewed(input.shape).channels};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Viewed out = viewed(x.channels);
    return ops::rearrange(run, x, out.view, out.channels);
  }

  // Fails with kShape if the layer does not take these channels.
  virtual Viewed viewed(const Shape& channels) const = 0;
};

}  // namespace sl
