// BlockwiseDotProductSelfAttention: each step sees its own block, and a given number of past and
// future blocks, or all (reference: attention.BlockwiseDotProductSelfAttention).
#include "layers/attention/self_attention.h"

namespace sl {
namespace {

class BlockwiseDotProductSelfAttention final : public SelfAttention {
 public:
  struct Fields : AttentionFields {
    explicit Fields(Config& config) : AttentionFields(config) {
      horizon.block = config.integer("block_size", 1);
      // The block size is limited because the receptive field has an entry for each step of a
      // block.
      constexpr int64_t kMax = 1 << 20;
      if (horizon.block > kMax)
        config.error("block_size", fmt::format("expected at most {}, got {}", kMax, horizon.block));
      read_kv_heads(config);
      read_horizon(config, "max_past_horizon_blocks", "max_future_horizon_blocks", -1);
      read_pair_fields(config);
      config.boolean("use_kv_cache_ringbuffer", false);
    }
  };

  BlockwiseDotProductSelfAttention(Fields fields, const Init& init)
      : SelfAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(BlockwiseDotProductSelfAttention);

}  // namespace
}  // namespace sl
