// Conv3D: Conv1D with two spatial dimensions beside time, [height, width, channels] per step
// (reference: convolution.Conv3D).
#include <nlohmann/json.hpp>

#include "layers/convolution/conv_layer.h"

namespace sl {
namespace {

class Conv3D final : public ConvLayer {
 public:
  struct Fields : ConvFields {
    explicit Fields(Config& config) : ConvFields(config) {
      read_filters(config);
      std::vector<ops::PaddingMode> paddings = {
          ops::read_padding(config, "time_padding", ops::Padding::kValid),
          {ops::Padding::kSame, {}},
          {ops::Padding::kSame, {}}};
      config.note("spatial_padding", "list of two, each a padding or [before, after]",
                  R"(["same", "same"])");
      if (const Json* spatial = config.raw("spatial_padding")) {
        if (!spatial->is_array() || spatial->size() != 2) {
          config.error("spatial_padding", "expected two paddings, one for each spatial dimension");
        }
        for (size_t i = 0; i < 2; ++i) {
          const std::string field = fmt::format("spatial_padding[{}]", i);
          paddings[i + 1] = ops::to_padding(config, field, (*spatial)[i], true);
        }
      }
      read_axes(config, paddings);
    }
  };
  using ConvLayer::ConvLayer;
};

SL_REGISTER_LAYER(Conv3D);

}  // namespace
}  // namespace sl
