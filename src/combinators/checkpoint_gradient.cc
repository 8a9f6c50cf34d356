// CheckpointGradient: runs its child unchanged, since inference computes no gradients (reference:
// combinators.CheckpointGradient).
#include "combinators/wrapper.h"

namespace sl {
namespace {

class CheckpointGradient final : public Wrapper {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : layer(config.nested_required("layer")),
          share_scope(config.boolean("share_scope", false)) {
      config.ignore({"prevent_cse", "policy"});
    }
    Config layer;
    bool share_scope;
  };

  CheckpointGradient(Fields fields, const Init& init)
      : Wrapper(init.builder.build(fields.layer, init.weights, "child_layer", fields.share_scope)) {
  }
};

SL_REGISTER_LAYER(CheckpointGradient);

}  // namespace
}  // namespace sl
