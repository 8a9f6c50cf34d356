// CheckpointName: the identity at inference (reference: simple.CheckpointName).
#include "layers/identity/identity_layer.h"

namespace sl {
namespace {

struct CheckpointNameFields {
  explicit CheckpointNameFields(Config& config) { config.string("checkpoint_name"); }
};

SL_REGISTER_LAYER_AS(CheckpointName, IdentityLayer<CheckpointNameFields>);

}  // namespace
}  // namespace sl
