// Cast: x converted to another dtype (reference: simple.Cast).
#include "layers/builder.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class Cast final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : dtype(config.dtype("dtype")) {}
    DType dtype;
  };

  Cast(Fields fields, const Init&) : dtype_(fields.dtype) {}

  ChannelSpec output_spec(const ChannelSpec& input, const Constants&) const override {
    return {dtype_, input.shape};
  }
  Sequence layer(Run& run, const Sequence& x) const override { return ops::cast(run, x, dtype_); }

 private:
  DType dtype_;
};

SL_REGISTER_LAYER(Cast);

}  // namespace
}  // namespace sl
