// Base of layers that reduce channel axes.
#pragma once

#include <optional>
#include <vector>

#include "layers/builder.h"
#include "layers/shape/channel_axes.h"
#include "ops/reduce.h"

namespace sl {

template <ops::Reduction op>
class ReduceLayer final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : axis(read_axis(config)), keepdims(config.boolean("keepdims", false)) {}

    // Reads "axis"; null stands for all axes, a missing field for -1.
    static std::optional<std::vector<int64_t>> read_axis(Config& config) {
      config.note("axis", "integer, list of integers or null", "-1");
      return config.has("axis") ? config.optional_integers("axis") : std::vector<int64_t>{-1};
    }
    std::optional<std::vector<int64_t>> axis;  // empty: all channel axes
    bool keepdims;
  };

  ReduceLayer(Fields fields, const Init&) : fields_(std::move(fields)) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.size() == 0) fail(Code::kShape, "input {} is empty", to_string(input));
    const Shape shape = reduced(input.shape, axes(input.shape));
    return ChannelSpec{ops::reduced_dtype(op, input.dtype), shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const uint32_t bits = axes(x.channels);
    return ops::reduce(run, op, x, bits, reduced(x.channels, bits));
  }

  uint32_t axes(const Shape& channels) const {
    if (!fields_.axis) return (1u << channels.rank()) - 1u;
    return channel_axes(*fields_.axis, channels);
  }
  Shape reduced(const Shape& channels, uint32_t bits) const {
    Shape out;
    for (int i = 0; i < channels.rank(); ++i) {
      const bool is_reduced = bits >> i & 1u;
      if (!is_reduced) out.push_back(channels[i]);
      if (is_reduced && fields_.keepdims) out.push_back(1);
    }
    return out;
  }

  Fields fields_;
};

}  // namespace sl
