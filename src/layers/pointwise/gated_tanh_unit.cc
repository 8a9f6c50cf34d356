// GatedTanhUnit: y = tanh(a) sigmoid(b), where a and b are the halves of the last channel axis
// (reference: simple.GatedTanhUnit).
#include "layers/identity/no_fields.h"
#include "layers/pointwise/gated_unit.h"

namespace sl {
namespace {

using kernels::Unary;

class GatedTanhUnit final : public GatedUnitLayer {
 public:
  using Fields = NoFields;
  GatedTanhUnit(Fields, const Init&) : GatedUnitLayer({Unary::kTanh, 0}, {Unary::kSigmoid, 0}) {}
};

SL_REGISTER_LAYER(GatedTanhUnit);

}  // namespace
}  // namespace sl
