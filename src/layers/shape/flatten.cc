// Flatten: reshapes all channel axes to one (reference: simple.Flatten).
#include "layers/shape/reshaping_layer.h"

namespace sl {
namespace {

class Flatten final : public ReshapingLayer {
 public:
  using Fields = NoFields;
  Flatten(Fields, const Init&) {}

 private:
  Shape reshaped(const Shape& channels) const override { return {channels.size()}; }
};

SL_REGISTER_LAYER(Flatten);

}  // namespace
}  // namespace sl
