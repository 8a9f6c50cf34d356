// OptimizationBarrier: the identity, which only XLA treats specially (reference:
// simple.OptimizationBarrier).
#include "layers/identity/identity_layer.h"

namespace sl {
namespace {

struct OptimizationBarrierFields {
  explicit OptimizationBarrierFields(Config& config) { config.boolean("apply_to_mask", false); }
};

SL_REGISTER_LAYER_AS(OptimizationBarrier, IdentityLayer<OptimizationBarrierFields>);

}  // namespace
}  // namespace sl
