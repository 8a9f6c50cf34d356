#include "layers/dense/shaped_dense.h"

#include <utility>

#include "core/status.h"

namespace sl {
namespace {

Shape at_least_one_axis(const Shape& shape) { return shape.empty() ? Shape{1} : shape; }

ops::Einsum make(const WeightScope& weights, const Shape& outputs, bool use_bias,
                 std::optional<Activation> activation, DType param_dtype,
                 std::optional<DType> compute_dtype) {
  const WeightSource source = weights.source_any("kernel");
  const Tensor& kernel = source.tensor;
  const bool is_complex = param_dtype == DType::kComplex64;
  const int inputs = kernel.shape.rank() - outputs.rank();
  if (inputs < 1 || kernel.shape.slice(inputs, kernel.shape.rank()) != outputs ||
      !(is_complex ? kernel.dtype == DType::kComplex64 : is_float(kernel.dtype))) {
    fail(Code::kWeights,
         "DenseShaped: kernel is {} {}: expected {} of the input's channel shape and then {}",
         name_of(kernel.dtype), to_string(kernel.shape), is_complex ? "complex numbers" : "floats",
         to_string(outputs));
  }
  ops::EinsumSpec spec;
  for (int i = 0; i < kernel.shape.rank(); ++i) {
    const char letter = static_cast<char>('a' + i);
    spec.kernel += letter;
    (i < inputs ? spec.input : spec.output) += letter;
  }
  TensorParts bias;
  if (use_bias) bias = weights.parts("bias", outputs, param_dtype);
  return ops::Einsum(spec, weights.kernel(source), std::move(bias), activation, param_dtype,
                     compute_dtype);
}

}  // namespace

ShapedDense::ShapedDense(const WeightScope& weights, const Shape& output_shape, bool use_bias,
                         std::optional<Activation> activation, DType param_dtype,
                         std::optional<DType> compute_dtype)
    : output_shape_(output_shape),
      needs_channels_(activation && !activation->is_elementwise()),
      einsum_(make(weights, at_least_one_axis(output_shape), use_bias, activation, param_dtype,
                   compute_dtype)) {}

ChannelSpec ShapedDense::output_spec(const ChannelSpec& input) const {
  // Over no channels, the reference applies a function of rows over time.
  if (needs_channels_ && output_shape_.empty()) row_axes({}, 0);
  return {einsum_.output_spec({input.dtype, at_least_one_axis(input.shape)}).dtype, output_shape_};
}

Sequence ShapedDense::apply(Run& run, const Sequence& x) const {
  const Sequence in = x.channels.empty() ? x.with_channels({1}) : x;
  return einsum_.apply(run, in).with_channels(output_shape_);
}

}  // namespace sl
