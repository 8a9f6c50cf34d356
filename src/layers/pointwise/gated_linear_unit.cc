// GatedLinearUnit: y = a sigmoid(b), where a and b are the halves of the last channel axis
// (reference: simple.GatedLinearUnit).
#include "layers/identity/no_fields.h"
#include "layers/pointwise/gated_unit.h"

namespace sl {
namespace {

class GatedLinearUnit final : public GatedUnitLayer {
 public:
  using Fields = NoFields;
  GatedLinearUnit(Fields, const Init&) : GatedUnitLayer({}, {kernels::Unary::kSigmoid, 0}) {}
};

SL_REGISTER_LAYER(GatedLinearUnit);

}  // namespace
}  // namespace sl
