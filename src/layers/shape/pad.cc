// Pad: pads the channels with a constant, with their border or with their reflection, as jnp.pad
// does.
#include <nlohmann/json.hpp>
#include <vector>

#include "layers/builder.h"
#include "ops/elementwise.h"
#include "ops/index_map.h"
#include "ops/window.h"

namespace sl {
namespace {

enum class PadMode { kConstant, kEdge, kReflect, kSymmetric, kWrap };

class Pad final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : paddings(read_paddings(config)),
          mode(static_cast<PadMode>(
              config.choice("mode", {"constant", "edge", "reflect", "symmetric", "wrap"}, 0))),
          value(config.number("value", 0)) {}

    static std::vector<ops::Pads> read_paddings(Config& config) {
      config.note("paddings", "list of [before, after], one for each channel axis", "");
      const Json* value = config.raw("paddings");
      if (!value || !value->is_array())
        config.error("paddings", "expected a list of [before, after]");
      std::vector<ops::Pads> out;
      for (const Json& pair : *value) {
        const auto is_amount = [](const Json& v) {
          return v.is_number_integer() && v.get<int64_t>() >= 0 && v.get<int64_t>() < kMaxAmount;
        };
        if (!pair.is_array() || pair.size() != 2 || !is_amount(pair[0]) || !is_amount(pair[1])) {
          config.error(fmt::format("paddings[{}]", out.size()),
                       fmt::format("expected two amounts [before, after] of at least 0, got {}",
                                   excerpt(pair)));
        }
        out.push_back({pair[0].get<int64_t>(), pair[1].get<int64_t>()});
      }
      return out;
    }
    static constexpr int64_t kMaxAmount = int64_t{1} << 31;

    std::vector<ops::Pads> paddings;
    PadMode mode;
    double value;
  };

  Pad(Fields fields, const Init&) : fields_(std::move(fields)) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.rank() != static_cast<int>(fields_.paddings.size())) {
      fail(Code::kShape, "the paddings are of {} channel axes, the input is {}",
           fields_.paddings.size(), to_string(input));
    }
    for (int i = 0; i < input.shape.rank(); ++i) {
      const ops::Pads pads = fields_.paddings[static_cast<size_t>(i)];
      const int64_t most = std::max(pads.before, pads.after);
      const int64_t needed = fields_.mode == PadMode::kConstant  ? 0
                             : fields_.mode == PadMode::kReflect ? most + 1
                             : fields_.mode == PadMode::kEdge    ? std::min<int64_t>(most, 1)
                                                                 : most;
      if (most > 0 && input.shape[i] < needed) {
        fail(Code::kShape, "axis {} of the input {} is too short to be padded by {}", i + 2,
             to_string(input), most);
      }
    }
    return {input.dtype, padded(input.shape)};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, {x.dtype, padded(x.channels)});
    ops::AxisMap maps[Shape::kMaxRank];
    for (int i = 0; i < y.channels.rank(); ++i) {
      auto* map = run.scratch<int64_t>(y.channels[i]);
      for (int64_t k = 0; k < y.channels[i]; ++k)
        map[k] = source(k - fields_.paddings[static_cast<size_t>(i)].before, x.channels[i]);
      maps[i] = ops::AxisMap(map, static_cast<size_t>(y.channels[i]));
    }
    alignas(complex64) std::byte fill[sizeof(complex64)];
    const auto value = static_cast<float>(fields_.value);
    ops::convert(&value, DType::kFloat32, fill, x.dtype, 1);
    ops::copy_mapped(run, x, std::span(maps).first(fields_.paddings.size()), fill, y);
    return y;
  }

  Shape padded(const Shape& channels) const {
    Shape out;
    for (int i = 0; i < channels.rank(); ++i) {
      const ops::Pads pads = fields_.paddings[static_cast<size_t>(i)];
      out.push_back(checked_sum(pads.before, channels[i], pads.after));
    }
    return out;
  }
  // The element of an axis of `size` that stands at position i, which may be outside.
  int64_t source(int64_t i, int64_t size) const {
    if (i >= 0 && i < size) return i;
    switch (fields_.mode) {
      case PadMode::kConstant:
        return ops::kFill;
      case PadMode::kEdge:
        return i < 0 ? 0 : size - 1;
      case PadMode::kReflect:
        return i < 0 ? -i : 2 * size - 2 - i;
      case PadMode::kSymmetric:
        return i < 0 ? -i - 1 : 2 * size - 1 - i;
      case PadMode::kWrap:
        return i < 0 ? i + size : i - size;
    }
    return 0;
  }

  Fields fields_;
};

SL_REGISTER_LAYER(Pad);

}  // namespace
}  // namespace sl
