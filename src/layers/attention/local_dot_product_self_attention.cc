// LocalDotProductSelfAttention: each step attends to a window of fixed size (reference:
// attention.LocalDotProductSelfAttention).
#include "layers/attention/self_attention.h"

namespace sl {
namespace {

class LocalDotProductSelfAttention final : public SelfAttention {
 public:
  struct Fields : AttentionFields {
    explicit Fields(Config& config) : AttentionFields(config) {
      window_block = config.integer("block_size", 1);
      read_horizon(config, "max_past_horizon", "max_future_horizon", 1);
      read_window_fields(config);
      if (per_dim_key_scale && !per_dim_scale)
        config.error("per_dim_key_scale", "expected per_dim_scale to be true as well");
    }
  };

  LocalDotProductSelfAttention(Fields fields, const Init& init)
      : SelfAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(LocalDotProductSelfAttention);

}  // namespace
}  // namespace sl
