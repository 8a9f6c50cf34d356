// Snake: y = x + sin(alpha x)^2 / beta, with alpha and beta (which may be alpha) learned as
// logarithms for each channel (reference: simple.Snake).
#include <cmath>
#include <vector>

#include "layers/builder.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

using kernels::Binary;
using kernels::Unary;

class Snake final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : separate_beta(config.boolean("separate_beta")),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)) {
      if (!is_float(param_dtype)) config.error("param_dtype", "expected a float dtype");
    }
    bool separate_beta;
    DType param_dtype;
  };

  Snake(Fields fields, const Init& init)
      : shape_(init.weights.get_any("alpha_log").shape), param_dtype_(fields.param_dtype) {
    alpha_ = exponentials(init, "alpha_log");
    reciprocal_ = fields.separate_beta ? exponentials(init, "beta_log") : alpha_;
    for (float& value : reciprocal_) value = 1.0f / (value + 1e-12f);
  }

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, shape_};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape != shape_) {
      fail(Code::kShape, "expected inputs with channels {}, got {}", to_string(shape_),
           to_string(input));
    }
    return {promote(input.dtype, param_dtype_), input.shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const DType dtype = promote(x.dtype, param_dtype_);
    const Sequence y = run.output_like(x, {dtype, x.channels});
    const size_t from = x.frame_bytes(), to = y.frame_bytes();
    ops::for_steps(run, x.steps(), x.frame_size(), [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        frame(x.values + i * from, x.dtype, y.values + i * to, dtype);
      }
    });
    return y;
  }

  std::vector<float> exponentials(const Init& init, const char* name) const {
    std::vector<float> out = init.weights.floats(name, shape_);
    for (float& value : out) value = std::exp(value);
    ops::round_to(param_dtype_, out.data(), static_cast<int64_t>(out.size()));
    return out;
  }
  void frame(const std::byte* x, DType x_dtype, std::byte* y, DType y_dtype) const {
    if (x_dtype == DType::kComplex64) {
      const auto* from = reinterpret_cast<const complex64*>(x);
      auto* to = reinterpret_cast<complex64*>(y);
      for (size_t i = 0; i < alpha_.size(); ++i) {
        const complex64 sine = std::sin(from[i] * alpha_[i]);
        to[i] = from[i] + sine * sine * reciprocal_[i];
      }
      return;
    }
    float sine[1024];  // one value for each element of a chunk
    ops::map_as_floats(
        x, x_dtype, y, y_dtype, shape_.size(), [&](float* values, int64_t begin, int64_t n) {
          kernels::binary(Binary::kMultiply, values, alpha_.data() + begin, sine, n);
          kernels::unary(Unary::kSin, sine, sine, n, 0);
          kernels::binary(Binary::kMultiply, sine, sine, sine, n);
          kernels::binary(Binary::kMultiply, sine, reciprocal_.data() + begin, sine, n);
          kernels::binary(Binary::kAdd, values, sine, values, n);
        });
  }

  Shape shape_;
  DType param_dtype_;
  std::vector<float> alpha_;
  std::vector<float> reciprocal_;
};

SL_REGISTER_LAYER(Snake);

}  // namespace
}  // namespace sl
