// NamedEmit: y = x, which is also an emit under a name (reference: simple.NamedEmit).
#include <string>

#include "layers/builder.h"

namespace sl {
namespace {

class NamedEmit final : public PointwiseLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : emit_name(config.string("emit_name")) {}
    std::string emit_name;
  };

  NamedEmit(Fields fields, const Init&) : emit_name_(std::move(fields.emit_name)) {}

  bool returns_view() const override { return true; }

 private:
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.emit(emit_name_, input);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    run.emit(x);
    return x;
  }

  std::string emit_name_;
};

SL_REGISTER_LAYER(NamedEmit);

}  // namespace
}  // namespace sl
