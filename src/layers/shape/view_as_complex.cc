// ViewAsComplex: pairs of real numbers as complex ones.
#include "layers/builder.h"
#include "layers/shape/complex_layout.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class ViewAsComplex final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : layout(read_complex_layout(config)) {}
    ComplexLayout layout;
  };

  ViewAsComplex(Fields fields, const Init&) : layout_(fields.layout) {}

  bool returns_view() const override { return layout_ != ComplexLayout::kHalves; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.dtype != DType::kFloat32) {
      fail(Code::kShape, "expected float32, got {}: put a Cast before it", to_string(input));
    }
    const bool pair = layout_ == ComplexLayout::kPair;
    if (input.shape.empty() || (pair ? input.shape.back() != 2 : input.shape.back() % 2 != 0)) {
      fail(Code::kShape, "expected a last channel axis of {}, got {}", pair ? "2" : "an even size",
           to_string(input));
    }
    return {DType::kComplex64, complex_shape(input.shape)};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (layout_ == ComplexLayout::kHalves) return joined(run, x);
    Sequence y = x.with_channels(complex_shape(x.channels));
    y.dtype = DType::kComplex64;
    return y;
  }

  Shape complex_shape(const Shape& channels) const {
    Shape out = channels;
    if (layout_ == ComplexLayout::kPair) {
      out.pop_back();
    } else {
      out.back() /= 2;
    }
    return out;
  }
  Sequence joined(Run& run, const Sequence& x) const {
    const Sequence y = run.output_like(x, {DType::kComplex64, complex_shape(x.channels)});
    const int64_t row = y.channels.back(), rows = row == 0 ? 0 : y.size() / row;
    ops::for_steps(run, rows, row, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* from = x.floats() + 2 * r * row;
        complex64* to = y.as<complex64>() + r * row;
        for (int64_t i = 0; i < row; ++i) to[i] = {from[i], from[row + i]};
      }
    });
    return y;
  }

  ComplexLayout layout_;
};

SL_REGISTER_LAYER(ViewAsComplex);

}  // namespace
}  // namespace sl
