// SwapAxes: exchanges two channel axes (reference: simple.SwapAxes).
#include <utility>

#include "layers/shape/permuting_layer.h"

namespace sl {
namespace {

class SwapAxes final : public PermutingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : axis1(read(config, "axis1")), axis2(read(config, "axis2")) {}

    static int64_t read(Config& config, const char* field) {
      const int64_t axis = config.integer(field, -Shape::kMaxRank);
      if (axis == 0 || axis == 1) {
        config.error(field, "batch and time (axes 0 and 1) cannot be swapped");
      }
      return axis;
    }
    int64_t axis1;
    int64_t axis2;
  };

  SwapAxes(Fields fields, const Init&) : fields_(fields) {}

 private:
  Axes permutation(const Shape& channels) const override {
    Axes out{};
    for (int i = 0; i < channels.rank(); ++i) out[static_cast<size_t>(i)] = i;
    std::swap(out[static_cast<size_t>(channel_axis(fields_.axis1, channels))],
              out[static_cast<size_t>(channel_axis(fields_.axis2, channels))]);
    return out;
  }

  Fields fields_;
};

SL_REGISTER_LAYER(SwapAxes);

}  // namespace
}  // namespace sl
