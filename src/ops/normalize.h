// Normalization: of the channels of each step, and of channels over all valid steps of a sequence.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/run.h"
#include "ops/broadcast.h"

namespace sl::ops {

// What a normalized value is multiplied with, and what is added to it.
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
  bool in_float32 = true;  // otherwise reductions of halves round after every operation
};

// The dtype of a normalized input: its own, but for integers that are not normalized in float32 and
// brought back.
DType normalized_dtype(const ChannelNorm& norm, DType input);
// y = x normalized over the channel axes whose bits are set in `axes`; parameters have an element
// for each element of those axes, and are cast to y's dtype, as in JAX.
Sequence normalize_channels(Run& run, const Sequence& x, uint32_t axes, const ChannelNorm& norm,
                            const NormParameters& parameters);

// Channels seen as `shape`, in groups: one for each element of the axes whose bits are set.
struct ChannelGroups {
  Shape shape;
  uint32_t axes = 0;
};

// y = x normalized over the valid steps and the channels of a group, in float32. Parameters
// broadcast to the channels once they are seen as `parameter_shape`. Layer-wise only.
Sequence normalize_over_time(Run& run, const Sequence& x, DType dtype, const ChannelGroups& groups,
                             double epsilon, const NormParameters& parameters,
                             const Shape& parameter_shape);

// The parameter as float32 values for all elements of a frame; all `otherwise` if there is none.
const float* expand_parameter(Run& run, const std::optional<BroadcastOperand>& parameter,
                              const Shape& shape, const Shape& channels, float otherwise);

// y = (x - shift) scale + bias, each of one value per element of a channel axis, in float32 and
// then cast to x's dtype, a float or complex.
struct AxisAffine {
  std::vector<float> shift, scale, bias;
};
Sequence shift_and_scale(Run& run, const Sequence& x, int axis, const AxisAffine& affine);

}  // namespace sl::ops
