#include "layers/convolution/conv_fields.h"

#include "ops/elementwise.h"

namespace sl {
namespace {

DType check_inexact(const Config& config, const char* field, DType dtype) {
  if (!is_inexact(dtype)) {
    config.error(field,
                 "expected \"float32\", \"bfloat16\", \"float16\" or \"complex64\": "
                 "convolutions compute in these only");
  }
  return dtype;
}

std::optional<DType> read_compute_dtype(Config& config) {
  const auto dtype = config.optional_dtype("compute_dtype");
  if (dtype) check_inexact(config, "compute_dtype", *dtype);
  return dtype;
}

}  // namespace

ConvFields::ConvFields(Config& config)
    : kernel(config),
      use_bias(config.boolean("use_bias", true)),
      activation(read_activation(config, "activation")),
      compute_dtype(read_compute_dtype(config)),
      param_dtype(
          check_inexact(config, "param_dtype", config.dtype("param_dtype", DType::kFloat32))) {
  config.ignore({"precision", "kernel_init", "kernel_sharding", "bias_init", "bias_sharding"});
}

void ConvFields::read_axes(Config& config, const std::vector<ops::PaddingMode>& paddings) {
  axes = ops::read_windows(config, "kernel_size", paddings);
}

void ConvFields::read_filters(Config& config) {
  filters = config.integer("filters", 1);
  groups = config.integer("groups", 1, 1);
  if (filters % groups != 0) {
    config.error("groups",
                 fmt::format("{} filters cannot be divided into {} groups", filters, groups));
  }
}

ConvWeights read_conv_weights(const ConvFields& fields, const Init& init) {
  Shape expected;
  for (const ops::Window& axis : fields.axes) expected.push_back(axis.kernel);
  const bool depthwise = fields.filters == 0;
  expected.push_back(depthwise ? 1 : kAnySize);
  expected.push_back(depthwise ? kAnySize : fields.filters);
  const DType dtype = fields.compute_dtype.value_or(fields.param_dtype);
  ConvWeights out;
  out.kernel = read_kernel(fields.kernel, init.weights, expected, fields.param_dtype, dtype);
  out.groups = fields.groups;
  const Shape& shape = out.kernel.real.shape;
  const int64_t filters = shape.back();
  if (filters % fields.multiplier != 0) {
    fail(Code::kWeights, "the kernel {} has {} filters: expected a multiple of depth_multiplier {}",
         to_string(shape), filters, fields.multiplier);
  }
  if (depthwise) out.groups = filters / fields.multiplier;
  if (fields.use_bias) out.bias = init.weights.parts("bias", {filters}, fields.param_dtype);
  ops::round_to(dtype, out.bias.real.data(), static_cast<int64_t>(out.bias.real.size()));
  return out;
}

}  // namespace sl
