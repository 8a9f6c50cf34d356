// EinopsRearrange: y = einops.rearrange(x, pattern) on the channels (reference:
// simple.EinopsRearrange).
#include "layers/shape/viewing_layer.h"
#include "ops/einops.h"

namespace sl {
namespace {

class EinopsRearrange final : public ViewingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : einops(config, {"batch", "time"}) {}
    ops::Einops einops;
  };

  EinopsRearrange(Fields fields, const Init&) : einops_(std::move(fields.einops)) {}

 private:
  Viewed viewed(const Shape& channels) const override {
    Viewed out;
    out.view = einops_.view(channels, ops::dense_view(channels).strides, &out.channels);
    return out;
  }

  ops::Einops einops_;
};

SL_REGISTER_LAYER(EinopsRearrange);

}  // namespace
}  // namespace sl
