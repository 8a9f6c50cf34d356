// Transpose: permutes the channel axes, or reverses them if no axes are given (reference:
// simple.Transpose).
#include <fmt/format.h>

#include <optional>
#include <vector>

#include "layers/shape/permuting_layer.h"

namespace sl {
namespace {

class Transpose final : public PermutingLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : axes(config.optional_integers("axes")) {
      if (axes && names_batch_or_time(*axes)) {
        config.error("axes", "batch and time (axes 0 and 1) cannot be transposed");
      }
    }
    std::optional<std::vector<int64_t>> axes;
  };

  Transpose(Fields fields, const Init&) : axes_(std::move(fields.axes)) {}

 private:
  Axes permutation(const Shape& channels) const override {
    const int rank = channels.rank();
    Axes out{};
    if (axes_) check(channels);
    for (int i = 0; i < rank; ++i) {
      const auto at = static_cast<size_t>(i);
      out[at] = axes_ ? static_cast<int>((*axes_)[at]) - kFirstChannelAxis : rank - 1 - i;
    }
    return out;
  }
  void check(const Shape& channels) const {
    const uint32_t all = (1u << channels.rank()) - 1u;
    bool negative = false;
    for (int64_t axis : *axes_) negative = negative || axis < 0;
    if (negative || axes_->size() != static_cast<size_t>(channels.rank()) ||
        channel_axes(*axes_, channels) != all) {
      fail(Code::kShape, "axes [{}] are not a permutation of the channel axes 2 to {}",
           fmt::join(*axes_, ", "), channels.rank() + 1);
    }
  }

  std::optional<std::vector<int64_t>> axes_;
};

SL_REGISTER_LAYER(Transpose);

}  // namespace
}  // namespace sl
