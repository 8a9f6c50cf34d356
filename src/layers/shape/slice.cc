// Slice: y = x[slices] on the channels, as in NumPy: ranges with steps, single indices and new axes
// (reference: simple.Slice).
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "layers/builder.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

struct Range {
  std::optional<int64_t> start, stop;
  int64_t step = 1;
};

// One entry of `slices`: a range, an index, or neither for a new axis.
struct Item {
  std::optional<Range> range;
  std::optional<int64_t> index;
};

// The first index and number of indices of a range in a dimension, like slice.indices of Python.
struct Resolved {
  int64_t first;
  int64_t count;
};

Resolved resolve(const Range& range, int64_t size) {
  const bool forward = range.step > 0;
  const int64_t minimum = forward ? 0 : -1, maximum = forward ? size : size - 1;
  const auto clamp = [&](int64_t i) { return std::clamp(i < 0 ? i + size : i, minimum, maximum); };
  const int64_t first = range.start ? clamp(*range.start) : (forward ? minimum : maximum);
  const int64_t last = range.stop ? clamp(*range.stop) : (forward ? maximum : minimum);
  const int64_t distance = forward ? last - first : first - last;
  return {first, std::max<int64_t>(0, ceil_div(distance, std::abs(range.step)))};
}

class Slice final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      config.note("slices", "list of [start, stop, step], indices and nulls", "");
      const Json* json = config.raw("slices");
      if (!json || !json->is_array()) config.error("slices", "expected a list of slices");
      for (const Json& value : *json) items.push_back(read(config, value));
    }

    static std::optional<int64_t> integer(const Config& config, const Json& value) {
      if (value.is_null()) return std::nullopt;
      constexpr int64_t kMax = int64_t{1} << 31;
      if (!value.is_number_integer() || std::abs(value.get<int64_t>()) > kMax) {
        config.error("slices", fmt::format("expected an integer of at most 2^31 or null, got {}",
                                           excerpt(value)));
      }
      return value.get<int64_t>();
    }
    static Item read(const Config& config, const Json& value) {
      Item item;
      const bool named = value.is_object() && value.contains("slice");
      const Json& bounds = named ? value["slice"] : value;
      if (!bounds.is_array()) {
        item.index = integer(config, value);
        return item;
      }
      if (bounds.size() != 3) config.error("slices", "expected slices of [start, stop, step]");
      item.range = Range{integer(config, bounds[0]), integer(config, bounds[1]),
                         integer(config, bounds[2]).value_or(1)};
      if (item.range->step == 0) config.error("slices", "a slice's step cannot be 0");
      return item;
    }
    std::vector<Item> items;
  };

  Slice(Fields fields, const Init&) : items_(std::move(fields.items)) {
    sliced_ = std::ranges::count_if(items_, [](const Item& i) { return i.range || i.index; });
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.rank() != sliced_) {
      fail(Code::kShape, "the slices are of {} dimensions, the input is {}", sliced_,
           to_string(input));
    }
    return ChannelSpec{input.dtype, view_of(input.shape).dims};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const ops::StridedView view = view_of(x.channels);
    return ops::rearrange(run, x, view, view.dims);
  }

  ops::StridedView view_of(const Shape& channels) const {
    const Shape strides = ops::dense_view(channels).strides;
    ops::StridedView out;
    int dim = 0;
    for (const Item& item : items_) {
      if (!item.range && !item.index) {
        out.push_back(1, 0);
        continue;
      }
      const int64_t size = channels[dim], stride = strides[dim];
      ++dim;
      if (item.range) {
        const auto [first, count] = resolve(*item.range, size);
        out.offset += first * stride;
        out.push_back(count, stride * item.range->step);
      } else {
        out.offset += index_in(*item.index, size) * stride;
      }
    }
    return out;
  }
  int64_t index_in(int64_t index, int64_t size) const {
    const int64_t at = index < 0 ? index + size : index;
    if (at < 0 || at >= size) {
      fail(Code::kShape, "index {} is out of range for a dimension of {}", index, size);
    }
    return at;
  }

  std::vector<Item> items_;
  std::ptrdiff_t sliced_;
};

SL_REGISTER_LAYER(Slice);

}  // namespace
}  // namespace sl
