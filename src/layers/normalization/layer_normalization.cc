// LayerNormalization: normalizes the channels of each step to mean 0 and variance 1, then scale and
// bias (reference: normalization.LayerNormalization).
#include "layers/normalization/channel_norm_layer.h"

namespace sl {
namespace {

class LayerNormalization final : public ChannelNormLayer {
 public:
  struct Fields : ChannelNormFields {
    explicit Fields(Config& config) : ChannelNormFields(config, ops::Norm::kLayer, 1e-6) {
      read_parameters(config);
      use_bias = config.boolean("use_bias", true);
      config.ignore({"bias_init"});
    }
  };

  LayerNormalization(Fields fields, const Init& init)
      : ChannelNormLayer(std::move(fields), init.weights) {}
};

SL_REGISTER_LAYER(LayerNormalization);

}  // namespace
}  // namespace sl
