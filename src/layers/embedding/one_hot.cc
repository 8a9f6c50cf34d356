// OneHot: y[..., i] = 1 where i = x, otherwise 0; all zeros if x is out of range (reference:
// simple.OneHot).
#include <array>
#include <cstring>

#include "layers/builder.h"
#include "layers/token_table.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class OneHot final : public StatelessLayer, public TokenTable {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : depth(config.integer("depth", 0)),
          compute_dtype(config.dtype("compute_dtype", DType::kFloat32)) {}
    int64_t depth;
    DType compute_dtype;
  };

  OneHot(Fields fields, const Init&) : depth_(fields.depth), dtype_(fields.compute_dtype) {
    const float one = 1;
    ops::convert(&one, DType::kFloat32, one_.data(), dtype_, 1);
  }

  int64_t token_count() const override { return depth_; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return row_spec(input, dtype_, depth_);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, row_spec(x.spec(), dtype_, depth_));
    std::memset(y.values, 0, y.bytes());
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t index = x.dtype == DType::kInt32 ? x.as<int32_t>()[i] : x.as<int8_t>()[i];
      if (index < 0 || index >= depth_) continue;
      const size_t element = size_of(dtype_);
      std::memcpy(y.values + static_cast<size_t>(i * depth_ + index) * element, one_.data(),
                  element);
    }
    return y;
  }

  int64_t depth_;
  DType dtype_;
  std::array<std::byte, sizeof(complex64)> one_{};
};

SL_REGISTER_LAYER(OneHot);

}  // namespace
}  // namespace sl
