// Softmax: y = e^x / sum(e^x) along one channel axis (reference: simple.Softmax).
#include "kernels/reduce.h"
#include "layers/builder.h"
#include "layers/simple/channel_axes.h"
#include "layers/simple/naming.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"

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

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    if (!is_float(input.dtype) && !is_integer(input.dtype)) {
      fail(Code::kShape, "{} \"{}\": expected a float or integer dtype, got {}", type(), name(),
           name_of(input.dtype));
    }
    naming(*this, [&] { return channel_axis(axis_, input.shape); });
    return {promote_inexact(input.dtype, input.dtype), input.shape};
  }
  Sequence layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, {promote_inexact(x.dtype, x.dtype), x.channels});
    const int axis = channel_axis(axis_, x.channels);
    const int64_t length = x.channels[axis];
    if (x.size() == 0) return y;
    const bool direct = y.dtype == DType::kFloat32;
    const float* values = ops::as_floats(run, x, DType::kFloat32);
    float* out = direct ? y.floats() : run.scratch<float>(x.size());
    if (axis == x.channels.rank() - 1) {
      rows(run, values, out, x.size() / length, length);
    } else {
      along_outer_axis(run, x, axis, values, out);
    }
    if (!direct) ops::convert(out, DType::kFloat32, y.values, y.dtype, y.size());
    return y;
  }

 private:
  static void rows(const Run& run, const float* x, float* y, int64_t count, int64_t length) {
    ops::for_steps(run, count, length, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernels::softmax(x + i * length, y + i * length, length);
    });
  }

  // With the axis last for a while.
  static void along_outer_axis(Run& run, const Sequence& x, int axis, const float* values,
                               float* out) {
    const Shape& channels = x.channels;
    const int64_t length = channels[axis], outer = channels.slice(0, axis).size();
    const int64_t inner = channels.slice(axis + 1, channels.rank()).size();
    ops::StridedView to_last, back;
    to_last.push_back(x.steps() * outer, length * inner);
    back.push_back(x.steps() * outer, length * inner);
    to_last.push_back(inner, 1);
    to_last.push_back(length, inner);
    back.push_back(length, 1);
    back.push_back(inner, length);
    auto* sorted = run.scratch<float>(x.size());
    ops::gather(to_last, reinterpret_cast<const std::byte*>(values), sizeof(float),
                reinterpret_cast<std::byte*>(sorted));
    rows(run, sorted, sorted, x.size() / length, length);
    ops::gather(back, reinterpret_cast<const std::byte*>(sorted), sizeof(float),
                reinterpret_cast<std::byte*>(out));
  }

  int64_t axis_;
};

SL_REGISTER_LAYER(Softmax);

}  // namespace
}  // namespace sl
