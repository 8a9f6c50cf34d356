// Translate: y = x + shift, where shift is a number, cast to the dtype of x (reference:
// tensorflow.simple.Translate).
#include "layers/pointwise/broadcast_layer.h"

namespace sl {
namespace {

class Translate final : public BroadcastLayer<ops::Arithmetic::kAdd> {
 public:
  struct Fields : BroadcastLayer::Fields {
    explicit Fields(Config& config) : BroadcastLayer::Fields(config) {
      if (!operand.shape().empty()) config.error("shift", "expected a number");
    }
  };

  Translate(Fields fields, const Init& init) : BroadcastLayer(std::move(fields), init) {}
};

SL_REGISTER_LAYER(Translate);

}  // namespace
}  // namespace sl
