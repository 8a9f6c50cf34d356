// StreamingDotProductAttention: each step of x attends to a window of a streamed constant
// (reference: attention.StreamingDotProductAttention).
#include "layers/attention/cross_attention.h"

namespace sl {
namespace {

class StreamingDotProductAttention final : public CrossAttention {
 public:
  struct Fields : CrossAttentionFields {
    explicit Fields(Config& config) : CrossAttentionFields(config) { read_streamed(config); }
  };

  StreamingDotProductAttention(Fields fields, const Init& init)
      : CrossAttention(std::move(fields), init) {}
};

SL_REGISTER_LAYER(StreamingDotProductAttention);

}  // namespace
}  // namespace sl
