// y = (x - mean) / deviation * scale + bias, with statistics over channel axes of each step, or
// over channels and all valid steps of a sequence [batch, time, channels...].
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/run.h"
#include "ops/broadcast.h"

namespace sl::ops {

// The scale by which a normalized value is multiplied, and the bias that is added.
struct NormParameters {
  std::optional<BroadcastOperand> scale;
  std::optional<BroadcastOperand> bias;
};

enum class Norm {
  kLayer,  // (x - mean) / sqrt(mean((x - mean)^2) + epsilon)
  kRms,    // x / sqrt(mean(x^2) + epsilon)
  kL2,     // x / sqrt(sum(x^2) + epsilon)
};

struct ChannelNorm {
  Norm norm = Norm::kLayer;
  double epsilon = 0;
  bool in_float32 = true;  // if false, bfloat16 and float16 round after every operation
};

// The dtype of the result. It is that of the input; only integers that are not normalized in
// float32 give a float dtype.
DType normalized_dtype(const ChannelNorm& norm, DType input);
// y = x normalized over the channel axes whose bits are set in `axes`. Parameters have one element
// for each element of those axes and are cast to y's dtype, as in JAX.
Sequence normalize_channels(Run& run, const Sequence& x, uint32_t axes, const ChannelNorm& norm,
                            const NormParameters& parameters);

// Channels read with the shape `shape` and split into groups, one for each element of the axes
// whose bits are set in `axes`.
struct ChannelGroups {
  Shape shape;
  uint32_t axes = 0;
};

// y = x normalized over all valid steps and the channels of each group, in float32. Parameters are
// read with the shape `parameter_shape` and broadcast to the channels. Layer-wise runs only.
Sequence normalize_over_time(Run& run, const Sequence& x, DType dtype, const ChannelGroups& groups,
                             double epsilon, const NormParameters& parameters,
                             const Shape& parameter_shape);

// The parameter as float32 values for all elements of a frame, or `fallback` for all of them if
// there is no parameter.
const float* expand_parameter(Run& run, const std::optional<BroadcastOperand>& parameter,
                              const Shape& shape, const Shape& channels, float fallback);

// y = (x - shift) * scale + bias with one value of each per element of a channel axis, computed in
// float32 and cast to x's dtype, which is a float or complex dtype.
struct AxisAffine {
  std::vector<float> shift, scale, bias;
};
Sequence shift_and_scale(Run& run, const Sequence& x, int axis, const AxisAffine& affine);

}  // namespace sl::ops
