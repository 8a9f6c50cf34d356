// RMSNormalization: normalizes the channels of each step to mean square 1, then scale (reference:
// normalization.RMSNormalization).
#include "layers/normalization/channel_norm_layer.h"

namespace sl {
namespace {

class RmsNormalization final : public ChannelNormLayer {
 public:
  struct Fields : ChannelNormFields {
    explicit Fields(Config& config) : ChannelNormFields(config, ops::Norm::kRms, 1e-6) {
      read_parameters(config);
    }
  };

  RmsNormalization(Fields fields, const Init& init)
      : ChannelNormLayer(std::move(fields), init.weights) {}
};

SL_REGISTER_LAYER_AS(RMSNormalization, RmsNormalization);

}  // namespace
}  // namespace sl
