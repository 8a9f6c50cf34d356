// Softmax: y = e^x / sum(e^x) along one channel axis (reference: simple.Softmax).
#include <cstring>

#include "kernels/reduce.h"
#include "layers/builder.h"
#include "layers/shape/channel_axes.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace sl {
namespace {

class Softmax final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : axis(config.integer("axis", -Shape::kMaxRank, -1)) {
      if (axis == 0 || axis == 1) config.error("axis", "batch and time (0 and 1) are not channels");
    }
    int64_t axis;
  };

  Softmax(Fields fields, const Init&) : axis_(fields.axis) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.dtype == DType::kBool) {
      fail(Code::kShape, "expected numbers, got {}", name_of(input.dtype));
    }
    channel_axis(axis_, input.shape);  // fails if there is no such axis
    return {promote_inexact(input.dtype, input.dtype), input.shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, {promote_inexact(x.dtype, x.dtype), x.channels});
    const int axis = channel_axis(axis_, x.channels);
    const int64_t length = x.channels[axis];
    if (x.size() == 0) return y;
    if (x.dtype == DType::kComplex64) {
      std::memcpy(y.values, x.values, x.bytes());
      const auto bit = static_cast<uint16_t>(1u << (x.channels.rank() - 1 - axis));
      ops::activate_along(run, y, {.over_row = RowFunction::kSoftmax, .axes = {0, bit}});
      return y;
    }
    const bool direct = y.dtype == DType::kFloat32;
    const float* values = ops::as_floats(run, x, DType::kFloat32);
    float* out = direct ? y.floats() : run.scratch<float>(x.size());
    ops::for_rows(run, x, ops::rows_along(x.channels, 1u << axis), values, out,
                  [&](const float* from, int64_t count, float* to) {
                    for (int64_t i = 0; i < count * length; i += length) {
                      kernels::softmax(from + i, to + i, length);
                    }
                  });
    if (!direct) ops::convert(out, DType::kFloat32, y.values, y.dtype, y.size());
    return y;
  }

  int64_t axis_;
};

SL_REGISTER_LAYER(Softmax);

}  // namespace
}  // namespace sl
