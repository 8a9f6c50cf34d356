// ApplySharding: the identity; shardings are for training on many devices (reference:
// simple.ApplySharding).
#include "layers/identity/identity_layer.h"

namespace sl {
namespace {

struct ApplyShardingFields {
  explicit ApplyShardingFields(Config& config) {
    config.ignore({"values_sharding", "mask_sharding"});
  }
};

SL_REGISTER_LAYER_AS(ApplySharding, IdentityLayer<ApplyShardingFields>);

}  // namespace
}  // namespace sl
