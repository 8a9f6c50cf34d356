// DotProductAttention: each step of x attends to a whole constant sequence (reference:
// attention.DotProductAttention).
#include "layers/attention/cross_attention.h"

namespace sl {
namespace {

class DotProductAttention final : public CrossAttention {
 public:
  struct Fields : CrossAttentionFields {
    explicit Fields(Config& config) : CrossAttentionFields(config) {
      read_source(config);
      read_score_fields(config);
      config.note("query_positions_name", "string or null", "null");
      if (config.raw("query_positions_name"))
        query_positions_name = config.string("query_positions_name");
      recomputes = config.boolean("recompute_kv_per_step", false);
      if (relative_position && relative_position->needs_fixed_window()) {
        config.error("relative_position_embedding",
                     "TransformerXLRelativePositionEmbedding is not a bias on scores: only "
                     "layers with a window take it");
      }
    }
  };

  DotProductAttention(Fields fields, const Init& init) : CrossAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(DotProductAttention);

}  // namespace
}  // namespace sl
