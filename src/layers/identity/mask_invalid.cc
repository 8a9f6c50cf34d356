// MaskInvalid: y = x, with zeros in invalid steps (reference: simple.MaskInvalid).
#include "layers/builder.h"
#include "layers/identity/no_fields.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class MaskInvalid final : public PointwiseLayer {
 public:
  using Fields = NoFields;
  MaskInvalid(Fields, const Init&) {}

 private:
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, x.spec());
    ops::copy_masked(x, y);
    return y;
  }
};

SL_REGISTER_LAYER(MaskInvalid);

}  // namespace
}  // namespace sl
