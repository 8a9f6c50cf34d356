// EinopsRearrange: y = einops.rearrange(x, pattern) on the channels (reference:
// simple.EinopsRearrange).
#include "layers/builder.h"
#include "ops/einops.h"

namespace sl {
namespace {

class EinopsRearrange final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : einops(config, {"batch", "time"}) {}
    ops::Einops einops;
  };

  EinopsRearrange(Fields fields, const Init&) : einops_(std::move(fields.einops)) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    Shape channels;
    view_of(input.shape, &channels);
    return {input.dtype, channels};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    Shape channels;
    const ops::StridedView view = view_of(x.channels, &channels);
    return ops::rearrange(run, x, view, channels);
  }

  ops::StridedView view_of(const Shape& channels, Shape* output) const {
    return einops_.view(channels, ops::dense_view(channels).strides, output);
  }

  ops::Einops einops_;
};

SL_REGISTER_LAYER(EinopsRearrange);

}  // namespace
}  // namespace sl
