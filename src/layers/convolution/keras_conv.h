// Fields, padding modes and base class of the convolution layers that only
// sequence_layers.tensorflow has. They take no complex numbers.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "layers/convolution/conv_fields.h"
#include "layers/convolution/sliding_layer.h"

namespace sl {

struct KerasConvFields : ConvFields {
  KerasConvFields() = default;
  // Reads the arguments of all layers and ignores those for training, which each kind of kernel
  // has, such as "depthwise".
  KerasConvFields(Config& config, std::vector<const char*> kernels);

  // Reads kernel_size, strides, dilation_rate and padding of layers over time only.
  void read_time(Config& config);
  // Reads these fields of layers with a spatial dimension, where only dilation_rate and
  // time_padding have defaults.
  void read_time_and_space(Config& config);
};

// Reads a padding. TensorFlow calls "causal" what JAX calls "causal_valid", and "reverse_causal"
// what JAX calls "reverse_causal_valid".
ops::PaddingMode read_keras_padding(Config& config, const char* field, bool required = false);

// Reads the bias; without values if there is none.
TensorParts read_keras_bias(const ConvFields& fields, const WeightScope& weights, int64_t filters);

// Only causal layers can step in TensorFlow, so no layer has latency.
template <typename Base>
class KerasConv : public Base {
 public:
  bool supports_step() const final {
    return this->axes()[0].padding.mode == ops::Padding::kCausalValid;
  }
  std::string step_obstacle() const final {
    if (supports_step()) return {};
    return ops::only_causal_steps(this->axes().size() > 1 ? "time_padding" : "padding");
  }
  int64_t input_latency() const final { return 0; }
  int64_t output_latency() const final { return 0; }

 protected:
  using Base::Base;
};

}  // namespace sl
