// Argmax: index of the largest element on the last channel axis (reference: simple.Argmax).
#include "layers/builder.h"
#include "layers/identity/no_fields.h"
#include "ops/reduce.h"

namespace sl {
namespace {

class Argmax final : public StatelessLayer {
 public:
  using Fields = NoFields;
  Argmax(Fields, const Init&) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.empty() || input.shape.back() == 0 || input.dtype == DType::kComplex64) {
      fail(Code::kShape,
           "expected real inputs with a channel axis that is not empty, "
           "got {}",
           to_string(input));
    }
    return {DType::kInt32, input.shape.slice(0, input.shape.rank() - 1)};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return ops::argmax(run, x); }
};

SL_REGISTER_LAYER(Argmax);

}  // namespace
}  // namespace sl
