// MoveAxis: moves channel axes to new positions; the others keep their order (reference:
// simple.MoveAxis).
#include <vector>

#include "layers/shape/permuting_layer.h"

namespace sl {
namespace {

class MoveAxis final : public PermutingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : source(config.integers("source")), destination(config.integers("destination")) {
      constexpr const char* kMessage = "batch and time (axes 0 and 1) cannot be moved";
      if (names_batch_or_time(source)) config.error("source", kMessage);
      if (names_batch_or_time(destination)) config.error("destination", kMessage);
      if (source.size() != destination.size()) {
        config.error("destination", fmt::format("expected as many axes as in source: {}, got {}",
                                                source.size(), destination.size()));
      }
    }
    std::vector<int64_t> source;
    std::vector<int64_t> destination;
  };

  MoveAxis(Fields fields, const Init&) : fields_(std::move(fields)) {}

 private:
  Axes permutation(const Shape& channels) const override {
    const uint32_t moved = channel_axes(fields_.source, channels);
    const uint32_t taken = channel_axes(fields_.destination, channels);
    Axes out{};
    for (size_t i = 0; i < fields_.source.size(); ++i) {
      out[static_cast<size_t>(channel_axis(fields_.destination[i], channels))] =
          channel_axis(fields_.source[i], channels);
    }
    int next = 0;
    for (int i = 0; i < channels.rank(); ++i) {
      if (taken >> i & 1u) continue;
      while (moved >> next & 1u) ++next;
      out[static_cast<size_t>(i)] = next++;
    }
    return out;
  }

  Fields fields_;
};

SL_REGISTER_LAYER(MoveAxis);

}  // namespace
}  // namespace sl
