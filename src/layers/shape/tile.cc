// Tile: repeats the channels along their axes, as jnp.tile does.
#include "layers/shape/viewing_layer.h"

namespace sl {
namespace {

class Tile final : public ViewingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : repeats(config.integers("repeats")) {
      for (const int64_t count : repeats) {
        if (count < 1) config.error("repeats", fmt::format("expected at least 1, got {}", count));
      }
    }
    std::vector<int64_t> repeats;
  };

  Tile(Fields fields, const Init&) : repeats_(std::move(fields.repeats)) {}

 private:
  // The repeats belong to the last axes; those in excess of the axes add axes before the first.
  Viewed viewed(const Shape& channels) const override {
    const Shape strides = ops::dense_view(channels).strides;
    const int count = static_cast<int>(repeats_.size());
    Viewed out;
    for (int i = std::min(0, channels.rank() - count); i < channels.rank(); ++i) {
      const int at = i + count - channels.rank();
      const int64_t times = at < 0 ? 1 : repeats_[static_cast<size_t>(at)];
      const int64_t size = i < 0 ? 1 : channels[i];
      if (times > 1) out.view.push_back(times, 0);
      if (i >= 0) out.view.push_back(size, strides[i]);
      out.channels.push_back(checked_product(times, size));
    }
    return out;
  }

  std::vector<int64_t> repeats_;
};

SL_REGISTER_LAYER(Tile);

}  // namespace
}  // namespace sl
