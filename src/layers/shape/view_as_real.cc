// ViewAsReal: complex numbers as pairs of real ones.
#include "layers/builder.h"
#include "layers/shape/complex_layout.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class ViewAsReal final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : layout(read_complex_layout(config)) {}
    ComplexLayout layout;
  };

  ViewAsReal(Fields fields, const Init&) : layout_(fields.layout) {}

  bool returns_view() const override { return layout_ != ComplexLayout::kHalves; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.dtype != DType::kComplex64)
      fail(Code::kShape, "expected complex64, got {}", to_string(input));
    if (layout_ != ComplexLayout::kPair && input.shape.empty())
      fail(Code::kShape, "expected a channel axis, got {}", to_string(input));
    return {DType::kFloat32, real_shape(input.shape)};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (layout_ == ComplexLayout::kHalves) return halves(run, x);
    Sequence y = x.with_channels(real_shape(x.channels));
    y.dtype = DType::kFloat32;
    return y;
  }

  Shape real_shape(const Shape& channels) const {
    Shape out = channels;
    if (layout_ == ComplexLayout::kPair) {
      out.push_back(2);
    } else {
      out.back() = checked_product(out.back(), 2);
    }
    return out;
  }
  Sequence halves(Run& run, const Sequence& x) const {
    const Sequence y = run.output_like(x, {DType::kFloat32, real_shape(x.channels)});
    const int64_t row = x.channels.back(), rows = row == 0 ? 0 : x.size() / row;
    ops::for_steps(run, rows, row, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const complex64* from = x.as<complex64>() + r * row;
        float* to = y.floats() + 2 * r * row;
        for (int64_t i = 0; i < row; ++i) {
          to[i] = from[i].real();
          to[row + i] = from[i].imag();
        }
      }
    });
    return y;
  }

  ComplexLayout layout_;
};

SL_REGISTER_LAYER(ViewAsReal);

}  // namespace
}  // namespace sl
