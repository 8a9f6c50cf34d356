// ExpandDims: inserts channel axes of size 1 (reference: simple.ExpandDims).
#include <algorithm>
#include <vector>

#include "layers/shape/reshaping_layer.h"

namespace sl {
namespace {

class ExpandDims final : public ReshapingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : axis(config.integers("axis")) {}
    std::vector<int64_t> axis;
  };

  ExpandDims(Fields fields, const Init&) : axis_(std::move(fields.axis)) {}

 private:
  // Axes are numbered among the channels only, from 0, or backward from one past the last if
  // negative. They are inserted in ascending order, duplicates only once.
  Shape reshaped(const Shape& channels) const override {
    const int rank = channels.rank();
    uint32_t wanted = 0;
    for (int64_t axis : axis_) {
      const int64_t at = axis < 0 ? axis + rank + 1 : axis;
      if (at < 0 || at > rank) {
        fail(Code::kShape, "axis {} is not from {} to {} for channels {}", axis, -rank - 1, rank,
             to_string(channels));
      }
      wanted |= 1u << at;
    }
    Shape out = channels;
    for (int at = 0; at <= rank; ++at) {
      if (wanted >> at & 1u) out.insert(at, 1);
    }
    return out;
  }

  std::vector<int64_t> axis_;
};

SL_REGISTER_LAYER(ExpandDims);

}  // namespace
}  // namespace sl
