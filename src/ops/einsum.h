// y = einsum(x, kernel) + bias over a sequence's channel axes, as batched matrix products; shared
// by Dense, DenseShaped and EinsumDense.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/run.h"
#include "core/tensor.h"
#include "ops/activation.h"
#include "ops/linear.h"
#include "ops/rearrange.h"

namespace sl::ops {

// "ab,bc->ac" over channel axes: each axis has a letter.
struct EinsumSpec {
  std::string input;
  std::string kernel;
  std::string output;
  bool leading_axes = false;  // input and output may have further axes before these
};

// Fails with a reason if a kernel axis is in neither input nor output, or an output axis in neither
// input nor kernel.
void check(const EinsumSpec& spec);

class Einsum {
 public:
  // The bias broadcasts to the output; one without values is no bias.
  Einsum(EinsumSpec spec, const KernelParts& kernel, TensorParts bias,
         std::optional<Activation> activation, DType param_dtype,
         std::optional<DType> compute_dtype);

  // Fails if the input's axes are not those of the kernel.
  ChannelSpec output_spec(const ChannelSpec& input) const;
  // Channel shape of the input without leading axes, if the kernel determines all of it.
  std::optional<Shape> implied_input() const;
  Sequence apply(Run& run, const Sequence& x) const;

 private:
  struct Axes;  // sizes and strides of one call

  int leading_rank(const Shape& input) const {
    return spec_.leading_axes ? input.rank() - static_cast<int>(spec_.input.size()) : 0;
  }
  Axes axes_of(const Shape& input) const;
  int64_t kernel_dim(char letter) const;
  const float* arranged_input(Run& run, const Axes& axes, const float* x, int64_t steps,
                              DType compute) const;
  void multiply(Run& run, const std::vector<Linear>& products, const Axes& axes, const float* x,
                int64_t steps, const float* bias, float* y) const;
  void add_bias(const Axes& axes, const std::vector<float>& bias, float* y, int64_t steps) const;
  void finish(const Axes& axes, float* y, int64_t steps, DType compute, bool bias_added) const;
  void apply_floats(Run& run, const Axes& axes, const Sequence& x, int64_t steps,
                    const Sequence& y) const;
  void apply_complex(Run& run, const Axes& axes, const Sequence& x, int64_t steps,
                     const Sequence& y) const;
  std::vector<Linear> pack(const Kernel& kernel) const;
  DType compute_dtype(DType input) const;

  EinsumSpec spec_;
  Shape kernel_shape_;
  // Letters of the axes by role: in input, kernel and output (batch), in input and kernel
  // (contracted), in input and output (free), in kernel and output (fresh), and only in the input
  // (lone, summed before the product).
  std::string batch_, contracted_, free_, fresh_, lone_;
  std::vector<Linear> products_;   // one for each item of the batch axes
  std::vector<Linear> imaginary_;  // products with the imaginary part of a complex kernel
  TensorParts bias_;
  std::optional<Activation> activation_;
  DType param_dtype_;
  std::optional<DType> compute_dtype_;
};

}  // namespace sl::ops
