// What the convolution layers share that only sequence_layers.tensorflow has: the arguments of its
// constructors, and its modes of padding. They take no complex numbers.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "layers/convolution/conv_fields.h"
#include "layers/convolution/sliding_layer.h"

namespace sl {

struct KerasConvFields : ConvFields {
  KerasConvFields() = default;
  // Arguments of all, with those of training for each kind of `kernels`: "depthwise".
  KerasConvFields(Config& config, std::vector<const char*> kernels);

  // Of layers over time only: kernel_size, strides, dilation_rate, padding.
  void read_time(Config& config);
  // The same with a spatial dimension, where only dilation_rate and time_padding have defaults.
  void read_time_and_space(Config& config);
};

// In TensorFlow, "causal" is what JAX has as "causal_valid", and "reverse_causal" as
// "reverse_causal_valid".
ops::PaddingMode read_keras_padding(Config& config, const char* field, bool required = false);

// The bias and the activation are all that is left to do after the products.
TensorParts read_keras_bias(const ConvFields& fields, const WeightScope& weights, int64_t filters);

// Only causal layers step there, so that none has latency.
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
