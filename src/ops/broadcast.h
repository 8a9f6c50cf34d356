// Arithmetic of a sequence with a constant, broadcast to its channels as in NumPy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/config.h"
#include "core/run.h"
#include "core/tensor.h"

namespace sl::ops {

enum class Arithmetic { kAdd, kMultiply, kMaximum, kMinimum, kMod };

// y[i] = op(a[i], b[i]) in `dtype`; y may be a. Integers wrap, mod has the divisor's sign.
void arithmetic(Arithmetic op, DType dtype, const std::byte* a, const std::byte* b, std::byte* y,
                int64_t count);

// The constant. It is cast to the dtype of what it meets, whose dtype stays.
class BroadcastOperand {
 public:
  explicit BroadcastOperand(const Array& array);
  explicit BroadcastOperand(const Tensor& tensor);

  // Fails if the dtype or the shape cannot take part.
  ChannelSpec output_spec(Arithmetic op, const ChannelSpec& input) const;

  const Shape& shape() const { return shape_; }
  // As elements of that dtype; bfloat16 and float16 as rounded float32.
  const std::byte* values(Run& run, DType dtype) const;

 private:
  Shape shape_;
  std::vector<float> reals_;
  std::vector<complex64> complexes_;  // only if it is complex
};

Sequence broadcast_binary(Run& run, Arithmetic op, const Sequence& x,
                          const BroadcastOperand& operand);
// Writes to x itself, which must be the layer's own output and of the operation's output shape. The
// operand may be seen with another shape of equal size.
void broadcast_in_place(Run& run, Arithmetic op, const Sequence& x,
                        const BroadcastOperand& operand);
void broadcast_in_place(Run& run, Arithmetic op, const Sequence& x, const BroadcastOperand& operand,
                        const Shape& shape);

}  // namespace sl::ops
