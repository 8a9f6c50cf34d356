// StreamingLocalDotProductAttention: like StreamingDotProductAttention, in blocks (reference:
// attention.StreamingLocalDotProductAttention).
#include "layers/attention/cross_attention.h"

namespace sl {
namespace {

class StreamingLocalDotProductAttention final : public CrossAttention {
 public:
  struct Fields : CrossAttentionFields {
    explicit Fields(Config& config) : CrossAttentionFields(config) {
      window_block = config.integer("block_size", 1);
      constexpr int64_t kMax = int64_t{1} << 30;
      if (window_block > kMax) config.error("block_size", "expected at most 2^30");
      read_streamed(config);
    }
  };

  StreamingLocalDotProductAttention(Fields fields, const Init& init)
      : CrossAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(StreamingLocalDotProductAttention);

}  // namespace
}  // namespace sl
