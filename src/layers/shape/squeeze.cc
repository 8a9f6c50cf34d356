// Squeeze: removes channel axes of size 1, all or the given ones (reference: simple.Squeeze).
#include <optional>
#include <vector>

#include "layers/shape/channel_axes.h"
#include "layers/shape/reshaping_layer.h"

namespace sl {
namespace {

class Squeeze final : public ReshapingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : axis(config.optional_integers("axis")) {
      if (axis && names_batch_or_time(*axis)) {
        config.error("axis", "batch and time (axes 0 and 1) cannot be squeezed");
      }
    }
    std::optional<std::vector<int64_t>> axis;
  };

  Squeeze(Fields fields, const Init&) : axis_(std::move(fields.axis)) {}

 private:
  Shape reshaped(const Shape& channels) const override {
    const uint32_t given = axis_ ? channel_axes(*axis_, channels) : 0;
    Shape out;
    for (int i = 0; i < channels.rank(); ++i) {
      const bool is_given = given >> i & 1u;
      if (is_given && channels[i] != 1) {
        fail(Code::kShape, "axis {} of channels {} is not of size 1", i + kFirstChannelAxis,
             to_string(channels));
      }
      if (axis_ ? !is_given : channels[i] != 1) out.push_back(channels[i]);
    }
    return out;
  }

  std::optional<std::vector<int64_t>> axis_;
};

SL_REGISTER_LAYER(Squeeze);

}  // namespace
}  // namespace sl
