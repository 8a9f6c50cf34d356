// Tile: repeats the channels along their axes, as jnp.tile does.
#include "layers/builder.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

class Tile final : public StatelessLayer {
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
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    Shape shape;
    view_of(input.shape, &shape);
    return {input.dtype, shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    Shape shape;
    const ops::StridedView view = view_of(x.channels, &shape);
    return ops::rearrange(run, x, view, shape);
  }

  // The repeats belong to the last axes; those in excess of the axes add axes before the first.
  ops::StridedView view_of(const Shape& channels, Shape* shape) const {
    const Shape strides = ops::dense_view(channels).strides;
    const int count = static_cast<int>(repeats_.size());
    ops::StridedView out;
    for (int i = std::min(0, channels.rank() - count); i < channels.rank(); ++i) {
      const int at = i + count - channels.rank();
      const int64_t times = at < 0 ? 1 : repeats_[static_cast<size_t>(at)];
      const int64_t size = i < 0 ? 1 : channels[i];
      if (times > 1) out.push_back(times, 0);
      if (i >= 0) out.push_back(size, strides[i]);
      shape->push_back(checked_product(times, size));
    }
    return out;
  }

  std::vector<int64_t> repeats_;
};

SL_REGISTER_LAYER(Tile);

}  // namespace
}  // namespace sl
