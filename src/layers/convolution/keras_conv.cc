#include "layers/convolution/keras_conv.h"

#include <string>

namespace sl {

KerasConvFields::KerasConvFields(Config& config, std::vector<const char*> kernels) {
  use_bias = config.boolean("use_bias", true);
  activation = read_activation(config, "activation");
  kernels.push_back("bias");
  for (const char* kernel : kernels) {
    for (const char* training : {"_initializer", "_regularizer", "_constraint"}) {
      config.ignore({(std::string(kernel) + training).c_str()});
    }
  }
  config.ignore({"activity_regularizer", "trainable"});
}

void KerasConvFields::read_time(Config& config) {
  read_axes(config, {read_keras_padding(config, "padding")});
}

void KerasConvFields::read_time_and_space(Config& config) {
  config.note("strides", "integer or list of 2 integers, at least 1", "");
  if (!config.has("strides")) config.integer("strides", 1);
  const auto time = read_keras_padding(config, "time_padding");
  read_axes(config, {time, read_keras_padding(config, "spatial_padding", /*required=*/true)});
}

ops::PaddingMode read_keras_padding(Config& config, const char* field, bool required) {
  static const std::vector<std::string> kNames = {"causal", "valid", "same", "reverse_causal"};
  constexpr ops::Padding kModes[] = {ops::Padding::kCausalValid, ops::Padding::kValid,
                                     ops::Padding::kSame, ops::Padding::kReverseCausalValid};
  if (required) config.string(field);
  return {kModes[config.choice(field, kNames, 0)], {}};
}

TensorParts read_keras_bias(const ConvFields& fields, const WeightScope& weights, int64_t filters) {
  return fields.use_bias ? weights.parts("bias", {filters}, DType::kFloat32) : TensorParts();
}

}  // namespace sl
