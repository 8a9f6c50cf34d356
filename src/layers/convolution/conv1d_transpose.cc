// Conv1DTranspose: y[t * stride + k * dilation] += x[t] W[kernel_size - 1 - k], then bias and
// activation (reference: convolution.Conv1DTranspose).
#include "layers/convolution/conv_transpose_layer.h"

namespace sl {
namespace {

class Conv1DTranspose final : public ConvTransposeLayer {
 public:
  struct Fields : ConvTransposeFields {
    explicit Fields(Config& config) : ConvTransposeFields(config) {
      read_filters(config);
      read_transposed_axes(config, {"padding"}, {ops::Padding::kValid});
    }
  };
  using ConvTransposeLayer::ConvTransposeLayer;
};

SL_REGISTER_LAYER(Conv1DTranspose);

}  // namespace
}  // namespace sl
