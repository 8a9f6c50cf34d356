// What all convolution layers read: their fields and their weights.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "layers/builder.h"
#include "layers/convolution/kernel.h"
#include "ops/activation.h"
#include "ops/window.h"

namespace sl {

struct ConvFields {
  ConvFields() = default;
  // Reads what layers of all ranks have, but for the kernel's form.
  explicit ConvFields(Config& config);
  // Fields kernel_size, strides and dilation_rate of `rank` dimensions, and how they are padded.
  void read_axes(Config& config, const std::vector<ops::PaddingMode>& paddings);
  // Fields `filters` and `groups`, for layers that mix channels.
  void read_filters(Config& config);

  std::vector<ops::Window> axes;  // time first
  KernelFields kernel;
  int64_t filters = 0;  // 0: multiplier * input channels, in as many groups as these
  int64_t multiplier = 1;
  int64_t groups = 1;
  bool use_bias = true;
  std::optional<Activation> activation;
  std::optional<DType> compute_dtype;
  DType param_dtype = DType::kFloat32;
};

// As they enter the computation: normalized and rounded.
struct ConvWeights {
  TensorParts kernel;
  int64_t groups = 1;
  TensorParts bias;  // without values if there is none
};

ConvWeights read_conv_weights(const ConvFields& fields, const Init& init);

}  // namespace sl
