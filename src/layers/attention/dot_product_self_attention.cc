// DotProductSelfAttention: each step attends to a given number of past and future steps, or to all
// (reference: attention.DotProductSelfAttention).
#include "layers/attention/self_attention.h"

namespace sl {
namespace {

class DotProductSelfAttention final : public SelfAttention {
 public:
  struct Fields : AttentionFields {
    explicit Fields(Config& config) : AttentionFields(config) {
      keys_valid_as_input = true;
      read_kv_heads(config);
      read_horizon(config, "max_past_horizon", "max_future_horizon", -1);
      read_score_fields(config);
      if (relative_position && relative_position->needs_fixed_window()) {
        config.error("relative_position_embedding",
                     "TransformerXLRelativePositionEmbedding is not a bias on scores: only "
                     "LocalDotProductSelfAttention takes it");
      }
      const bool plain = heads.group == 1 && sinks() == 0 && !relative_position;
      if (config.boolean("use_kv_cache_ringbuffer", false) && !plain) {
        config.error("use_kv_cache_ringbuffer",
                     "cannot be combined with num_kv_heads, sinks or relative_position_embedding");
      }
      check(config);
    }
  };

  DotProductSelfAttention(Fields fields, const Init& init)
      : SelfAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(DotProductSelfAttention);

}  // namespace
}  // namespace sl
