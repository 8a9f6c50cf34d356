// Layers that apply one function to each element.
#pragma once

#include "layers/builder.h"
#include "layers/simple/no_fields.h"
#include "ops/activation.h"
#include "ops/elementwise.h"

namespace sl {

class PointwiseFunction : public StatelessLayer {
 public:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    const auto dtype = ops::unary_dtype(function_.op, input.dtype);
    if (!dtype) {
      fail(Code::kShape, "does not take inputs of dtype {}", name_of(input.dtype));
    }
    return {*dtype, input.shape};
  }
  bool in_place() const override { return true; }
  bool do_overwrite(Run& run, const Sequence& x) const override {
    return ops::unary_in_place(run, x, function_);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::unary(run, x, function_);
  }

 protected:
  explicit PointwiseFunction(Activation function) : function_(function) {}

 private:
  Activation function_;
};

// A function without a parameter.
template <kernels::Unary op>
class FixedFunction final : public PointwiseFunction {
 public:
  using Fields = NoFields;
  FixedFunction(Fields, const Init&) : PointwiseFunction({op, 0}) {}
};

}  // namespace sl
