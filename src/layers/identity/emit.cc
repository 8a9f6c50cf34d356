// Emit: y = x, which is also an emit (reference: simple.Emit).
#include "layers/builder.h"
#include "layers/identity/no_fields.h"

namespace sl {
namespace {

class Emit final : public PointwiseLayer {
 public:
  using Fields = NoFields;
  Emit(Fields, const Init&) {}

  bool returns_view() const override { return true; }

 private:
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.emit("", input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    run.emit(x);
    return x;
  }
};

SL_REGISTER_LAYER(Emit);

}  // namespace
}  // namespace sl
