// The fields and weights that all convolution layers read.
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
  // Reads the fields of layers of all ranks, except those of kernel size, strides and padding.
  explicit ConvFields(Config& config);
  // Reads kernel_size, strides, dilation_rate and padding, one dimension for each entry of
  // `paddings`.
  void read_axes(Config& config, const std::vector<ops::PaddingMode>& paddings);
  // Reads "filters" and "groups", for layers that mix channels.
  void read_filters(Config& config);

  std::vector<ops::Window> axes;  // time first
  KernelFields kernel;
  int64_t filters = 0;  // 0: depthwise, with multiplier * input channels
  int64_t multiplier = 1;
  int64_t groups = 1;
  bool use_bias = true;
  std::optional<Activation> activation;
  std::optional<DType> compute_dtype;
  DType param_dtype = DType::kFloat32;
};

// Weights as the computation uses them: normalized and rounded.
struct ConvWeights {
  ops::KernelParts kernel;
  int64_t groups = 1;
  TensorParts bias;  // without values: no bias
};

ConvWeights read_conv_weights(const ConvFields& fields, const Init& init);

}  // namespace sl
