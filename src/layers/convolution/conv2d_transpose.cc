// Conv2DTranspose: Conv1DTranspose with one spatial dimension beside time, [width, channels] per
// step (reference: convolution.Conv2DTranspose).
#include "layers/convolution/conv_transpose_layer.h"

namespace sl {
namespace {

class Conv2DTranspose final : public ConvTransposeLayer {
 public:
  struct Fields : ConvTransposeFields {
    explicit Fields(Config& config) : ConvTransposeFields(config) {
      read_filters(config);
      read_transposed_axes(config, {"time_padding", "spatial_padding"},
                           {ops::Padding::kValid, ops::Padding::kSame});
    }
  };
  using ConvTransposeLayer::ConvTransposeLayer;
};

SL_REGISTER_LAYER(Conv2DTranspose);

}  // namespace
}  // namespace sl
