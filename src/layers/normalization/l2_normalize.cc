// L2Normalize: y = x / |x| over the channels of each step (reference: normalization.L2Normalize).
#include "layers/normalization/channel_norm_layer.h"

namespace sl {
namespace {

class L2Normalize final : public ChannelNormLayer {
 public:
  struct Fields : ChannelNormFields {
    explicit Fields(Config& config) : ChannelNormFields(config, ops::Norm::kL2, 1e-12) {}
  };

  L2Normalize(Fields fields, const Init& init)
      : ChannelNormLayer(std::move(fields), init.weights) {}
};

SL_REGISTER_LAYER(L2Normalize);

}  // namespace
}  // namespace sl
