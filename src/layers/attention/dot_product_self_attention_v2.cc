// DotProductSelfAttentionV2: like DotProductSelfAttention, but constants may give each step a
// position and a segment that decide which steps see each other (reference:
// attention.DotProductSelfAttentionV2).
#include "layers/attention/self_attention.h"

namespace sl {
namespace {

class DotProductSelfAttentionV2 final : public SelfAttention {
 public:
  struct Fields : AttentionFields {
    explicit Fields(Config& config) : AttentionFields(config) {
      read_kv_heads(config);
      read_horizon(config, "max_past_horizon", "max_future_horizon", -1);
      read_pair_fields(config);
      config.ignore({"experimental_remat_outer", "experimental_remat_inner"});
      if (config.boolean("use_kv_cache_ringbuffer", false) && heads.group != 1)
        config.error("use_kv_cache_ringbuffer", "cannot be combined with num_kv_heads");
      check(config);
    }
  };

  DotProductSelfAttentionV2(Fields fields, const Init& init)
      : SelfAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(DotProductSelfAttentionV2);

}  // namespace
}  // namespace sl
