// Roll: moves the channels along their axes, the last ones to the front, as jnp.roll does.
#include <array>
#include <vector>

#include "layers/builder.h"
#include "layers/shape/channel_axes.h"
#include "ops/index_map.h"

namespace sl {
namespace {

class Roll final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : shift(config.integers("shift")), axis(config.integers("axis")) {
      if (axis.size() != shift.size()) {
        config.error("axis", fmt::format("expected {}, one for each shift, got {}", shift.size(),
                                         axis.size()));
      }
      if (names_batch_or_time(axis)) {
        config.error("axis",
                     "expected channel axes: a roll over time needs the last steps first, which a "
                     "stream does not know; a \"Delay\" moves steps without them");
      }
    }
    std::vector<int64_t> shift;
    std::vector<int64_t> axis;
  };

  Roll(Fields fields, const Init&) : fields_(std::move(fields)) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    for (const int64_t axis : fields_.axis) channel_axis(axis, input.shape);
    return input;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, x.spec());
    // By how much each axis moves; shifts of the same axis add up.
    std::array<int64_t, Shape::kMaxRank> shifts{};
    for (size_t i = 0; i < fields_.axis.size(); ++i) {
      const int axis = channel_axis(fields_.axis[i], x.channels);
      const int64_t size = std::max<int64_t>(x.channels[axis], 1);
      int64_t& shift = shifts[static_cast<size_t>(axis)];
      shift = (shift + floor_mod(fields_.shift[i], size)) % size;
    }
    ops::AxisMap maps[Shape::kMaxRank];
    for (int i = 0; i < x.channels.rank(); ++i) {
      const int64_t size = x.channels[i];
      auto* map = run.scratch<int64_t>(size);
      for (int64_t k = 0; k < size; ++k)
        map[k] = floor_mod(k - shifts[static_cast<size_t>(i)], size);
      maps[i] = ops::AxisMap(map, static_cast<size_t>(size));
    }
    const auto rank = static_cast<size_t>(x.channels.rank());
    ops::copy_mapped(run, x, std::span(maps).first(rank), nullptr, y);
    return y;
  }

  Fields fields_;
};

SL_REGISTER_LAYER(Roll);

}  // namespace
}  // namespace sl
