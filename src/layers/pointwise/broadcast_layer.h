// Base of layers that combine their input with a number or array of the config, broadcast to the
// channels and cast to the dtype of the input.
#pragma once

#include "layers/builder.h"
#include "ops/broadcast.h"

namespace sl {

// The name of the field that holds the operand.
constexpr const char* operand_field(ops::Arithmetic op) {
  switch (op) {
    case ops::Arithmetic::kAdd:
      return "shift";
    case ops::Arithmetic::kMultiply:
      return "scale";
    case ops::Arithmetic::kMaximum:
      return "maximum";
    case ops::Arithmetic::kMinimum:
      return "minimum";
    default:
      return "divisor";
  }
}

template <ops::Arithmetic op>
class BroadcastLayer : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : operand(read(config)) {}

    static ops::BroadcastOperand read(Config& config) {
      const Array array = config.array(operand_field(op));
      return ops::BroadcastOperand(array, config.raw(operand_field(op)));
    }
    ops::BroadcastOperand operand;
  };

  BroadcastLayer(Fields fields, const Init&) : operand_(std::move(fields.operand)) {}

  bool in_place() const override { return true; }
  InPieces in_pieces() const override { return InPieces::kAnywhere; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return operand_.output_spec(op, input);
  }
  bool do_overwrite(Run& run, const Sequence& x) const override {
    if (!operand_.keeps_spec(op, x.spec())) return false;
    ops::broadcast_in_place(run, op, x, operand_);
    return true;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::broadcast_binary(run, op, x, operand_);
  }

  ops::BroadcastOperand operand_;
};

}  // namespace sl
