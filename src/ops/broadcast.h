// y = op(x, operand) for a sequence x and a constant operand that broadcasts to x's channels as in
// NumPy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/config.h"
#include "core/run.h"
#include "core/tensor.h"

namespace sl::ops {

enum class Arithmetic { kAdd, kSubtract, kMultiply, kDivide, kMaximum, kMinimum, kMod };

// y[i] = op(a[i], b[i]) in `dtype`, which for a division is no integer. y may be a. Integers wrap,
// and mod has the divisor's sign.
void arithmetic(Arithmetic op, DType dtype, const std::byte* a, const std::byte* b, std::byte* y,
                int64_t count);

// A constant operand. It is cast to the dtype of the sequence, which does not change.
class BroadcastOperand {
 public:
  // `numbers`: the JSON of the array, if integers need more digits than float32 has.
  explicit BroadcastOperand(const Array& array, const Json* numbers = nullptr);
  explicit BroadcastOperand(const Tensor& tensor);

  // Spec of the result. Fails if the operation does not take the input's dtype or the shapes do not
  // broadcast.
  ChannelSpec output_spec(Arithmetic op, const ChannelSpec& input) const;

  // Whether the result has the spec of the input.
  bool keeps_spec(Arithmetic op, const ChannelSpec& input) const;

  const Shape& shape() const { return shape_; }
  // The elements converted to `dtype`; those of bfloat16 and float16 are rounded, but held as
  // float32. Integers beyond the dtype's range wrap, as in NumPy.
  const std::byte* values(Run& run, DType dtype) const;

 private:
  void read_integers();

  Shape shape_;
  std::vector<float> reals_;
  std::vector<int32_t> integers_;     // float32 holds no integer beyond 2^24 exactly
  std::vector<complex64> complexes_;  // only if it is complex
};

Sequence broadcast_binary(Run& run, Arithmetic op, const Sequence& x,
                          const BroadcastOperand& operand);
// x = op(x, operand), in place. x must be the layer's own output and already have the shape of the
// result. `shape` reads the operand with another shape of the same size.
void broadcast_in_place(Run& run, Arithmetic op, const Sequence& x,
                        const BroadcastOperand& operand);
void broadcast_in_place(Run& run, Arithmetic op, const Sequence& x, const BroadcastOperand& operand,
                        const Shape& shape);

}  // namespace sl::ops
