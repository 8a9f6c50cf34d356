#include "layers/convolution/conv_fields.h"

#include "ops/elementwise.h"

namespace sl {
namespace {

std::optional<DType> read_float_dtype(Config& config, const char* field) {
  const auto dtype = config.optional_dtype(field);
  if (dtype && !is_float(*dtype)) {
    config.error(
        field,
        "expected \"float32\", \"bfloat16\" or \"float16\": convolutions compute in these only");
  }
  return dtype;
}

}  // namespace

ConvFields::ConvFields(Config& config)
    : kernel(config),
      use_bias(config.boolean("use_bias", true)),
      activation(read_activation(config, "activation")),
      compute_dtype(read_float_dtype(config, "compute_dtype")),
      param_dtype(read_float_dtype(config, "param_dtype").value_or(DType::kFloat32)) {
  config.ignore({"precision", "kernel_init", "kernel_sharding", "bias_init", "bias_sharding"});
}

void ConvFields::read_axes(Config& config, std::vector<ops::PaddingMode> paddings) {
  const size_t rank = paddings.size();
  if (!config.has("kernel_size")) config.integer("kernel_size", 1);
  const auto kernel_size = config.integers_of("kernel_size", rank, 1, 1);
  const auto strides = config.integers_of("strides", rank, 1, 1);
  const auto dilation_rate = config.integers_of("dilation_rate", rank, 1, 1);
  for (size_t i = 0; i < rank; ++i) {
    axes.push_back({kernel_size[i], strides[i], dilation_rate[i], paddings[i]});
  }
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
  ConvWeights out{read_kernel(fields.kernel, init.weights, expected, dtype), fields.groups, {}};
  const int64_t filters = out.kernel.shape.back();
  if (filters % fields.multiplier != 0) {
    fail(Code::kWeights, "the kernel {} has {} filters: expected a multiple of depth_multiplier {}",
         to_string(out.kernel.shape), filters, fields.multiplier);
  }
  if (depthwise) out.groups = filters / fields.multiplier;
  if (fields.use_bias) out.bias = init.weights.floats("bias", {filters});
  ops::round_to(dtype, out.bias.data(), static_cast<int64_t>(out.bias.size()));
  return out;
}

}  // namespace sl
