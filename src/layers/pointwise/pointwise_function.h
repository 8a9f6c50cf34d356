// Base of layers that apply a function to each element.
#pragma once

#include "kernels/unary_functions.h"
#include "layers/builder.h"
#include "layers/epilogue.h"
#include "ops/activation.h"
#include "ops/elementwise.h"

namespace sl {

class PointwiseFunction : public StatelessLayer, public HasEpilogue {
 public:
  bool in_place() const override { return true; }
  InPieces in_pieces() const override { return InPieces::kAnywhere; }
  std::optional<Epilogue> epilogue() const override {
    for (const DType input : {DType::kFloat32, DType::kComplex64}) {
      const auto result = ops::unary_dtype(function_.op, input);
      if (result && *result != input) return std::nullopt;
    }
    return function_;
  }

 protected:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    const auto dtype = ops::unary_dtype(function_.op, input.dtype);
    if (!dtype) {
      fail(Code::kShape, "does not take inputs of dtype {}", name_of(input.dtype));
    }
    return {*dtype, input.shape};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    return ops::unary(run, x, function_);
  }

  explicit PointwiseFunction(Activation function) : function_(function) {}

 private:
  bool do_overwrite(Run& run, const Sequence& x) const override {
    return ops::unary_in_place(run, x, function_);
  }

  Activation function_;
};

// A function of kernels/unary_functions.inc. Its parameter, if it has one, is a field.
template <kernels::Unary op>
class UnaryLayer final : public PointwiseFunction {
 public:
  struct Fields {
    explicit Fields(Config& config) {
      constexpr kernels::UnaryParameter kParameter = kernels::description(op).parameter;
      if constexpr (!kParameter.name.empty()) {
        const double value = config.number(kParameter.name.data(), kParameter.default_value);
        parameter = static_cast<float>(value);
      }
    }
    float parameter = 0;
  };
  UnaryLayer(Fields fields, const Init&) : PointwiseFunction({op, fields.parameter}) {}
};

}  // namespace sl
