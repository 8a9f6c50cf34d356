#include "ops/combine.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/status.h"
#include "kernels/pointwise.h"
#include "ops/broadcast.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// `shape` with ones prepended up to `rank` dimensions.
Shape padded(const Shape& shape, int rank) {
  Shape out = shape;
  while (out.rank() < rank) out.insert(0, 1);
  return out;
}

// The dtype in which inputs whose common dtype is `dtype` are combined. The reference adds all to
// 0, so that booleans become int32.
DType total_dtype(Combination combination, DType dtype) {
  if (combination == Combination::kDivide) return promote_inexact(dtype, dtype);
  const bool sums = combination == Combination::kAdd || combination == Combination::kMean;
  return sums && dtype == DType::kBool ? DType::kInt32 : dtype;
}

Arithmetic arithmetic_of(Combination combination) {
  switch (combination) {
    case Combination::kProduct:
      return Arithmetic::kMultiply;
    case Combination::kSubtract:
      return Arithmetic::kSubtract;
    case Combination::kDivide:
      return Arithmetic::kDivide;
    case Combination::kMaximum:
      return Arithmetic::kMaximum;
    case Combination::kMinimum:
      return Arithmetic::kMinimum;
    default:
      return Arithmetic::kAdd;
  }
}

const ChannelSpec& spec_of(const ChannelSpec& spec) { return spec; }
ChannelSpec spec_of(const Sequence& sequence) { return sequence.spec(); }

// Spec of the combination of specs or sequences. Allocates nothing, since steps call it.
template <typename T>
ChannelSpec combined(Combination combination, std::span<const T> inputs) {
  const bool concat = combination == Combination::kConcat;
  int rank = concat ? 1 : 0;
  for (const T& input : inputs) rank = std::max(rank, spec_of(input).shape.rank());
  ChannelSpec out{spec_of(inputs[0]).dtype, {}};
  int64_t joined = 0;
  for (const T& input : inputs) {
    const ChannelSpec spec = spec_of(input);
    out.dtype = promote(out.dtype, spec.dtype);
    const Shape shape = padded(spec.shape, rank);
    out.shape = broadcast(out.shape, concat ? shape.slice(0, shape.rank() - 1) : shape);
    if (concat) joined = checked_sum(joined, shape.back());
  }
  if (combination == Combination::kSubtract && out.dtype == DType::kBool)
    fail(Code::kShape, "booleans have no difference");
  out.dtype = total_dtype(combination, out.dtype);
  if (combination == Combination::kMean) out.dtype = promote_inexact(out.dtype, out.dtype);
  if (concat) out.shape.push_back(joined);
  if (combination == Combination::kStack) out.shape.insert(0, static_cast<int64_t>(inputs.size()));
  return out;
}

// Writes `from`, broadcast to the shape `to_shape`, with the given element strides of the
// destination.
void broadcast_copy(const std::byte* from, const Shape& from_shape, std::byte* to,
                    const Shape& to_shape, const int64_t* to_strides, int axis, size_t element) {
  if (axis == to_shape.rank()) {
    std::memcpy(to, from, element);
    return;
  }
  const int64_t from_stride =
      from_shape[axis] == 1 ? 0 : from_shape.slice(axis + 1, from_shape.rank()).size();
  const bool run = axis + 1 == to_shape.rank() && from_stride == 1 && to_strides[axis] == 1;
  if (run) {
    std::memcpy(to, from, static_cast<size_t>(to_shape[axis]) * element);
    return;
  }
  for (int64_t i = 0; i < to_shape[axis]; ++i) {
    broadcast_copy(from + static_cast<size_t>(i * from_stride) * element, from_shape,
                   to + static_cast<size_t>(i * to_strides[axis]) * element, to_shape, to_strides,
                   axis + 1, element);
  }
}

std::array<int64_t, Shape::kMaxRank> strides_of(const Shape& shape) {
  std::array<int64_t, Shape::kMaxRank> strides{};
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = stride;
    stride *= shape[i];
  }
  return strides;
}

// x converted to `dtype` in scratch; x itself if it has that dtype.
Sequence in_dtype(Run& run, const Sequence& x, DType dtype) {
  if (x.dtype == dtype) return x;
  Sequence out = x;
  out.dtype = dtype;
  out.values = run.scratch<std::byte>(static_cast<int64_t>(out.bytes()));
  convert(x.values, x.dtype, out.values, dtype, x.size());
  return out;
}

// Writes each frame of x, broadcast to `shape`, into the frame of y at `offset`, in elements.
void place(const Sequence& x, const Shape& shape, const Sequence& y, const int64_t* strides,
           int64_t offset) {
  const Shape from = padded(x.channels, shape.rank());
  const size_t element = size_of(y.dtype);
  for (int64_t i = 0; i < x.steps(); ++i) {
    broadcast_copy(x.frame(0, i), from, y.frame(0, i) + static_cast<size_t>(offset) * element,
                   shape, strides, 0, element);
  }
}

// y = op(a, b), for a and b of y's dtype and size.
void accumulate(const Run& run, Arithmetic op, const std::byte* a, const std::byte* b,
                const Sequence& y) {
  run.parallel().count(y.size(), 3 * static_cast<int64_t>(y.bytes()));
  arithmetic(op, y.dtype, a, b, y.values, y.size());
}

void divide(Run& run, const Sequence& y, float divisor) {
  if (y.dtype == DType::kComplex64) {
    for (int64_t i = 0; i < y.size(); ++i) y.as<complex64>()[i] /= divisor;
    return;
  }
  float* values = y.dtype == DType::kFloat32 ? y.floats() : run.scratch<float>(y.size());
  if (y.dtype != DType::kFloat32) convert(y.values, y.dtype, values, DType::kFloat32, y.size());
  kernels::binary_scalar(kernels::Binary::kDivide, values, divisor, values, y.size());
  if (y.dtype != DType::kFloat32) convert(values, DType::kFloat32, y.values, y.dtype, y.size());
}

// Makes steps of y invalid that are invalid in x.
void restrict_mask(const Sequence& y, const Sequence& x) {
  // Local copies, since a write to the mask may change any member.
  const int64_t steps = x.steps();
  uint8_t* to = y.mask;
  const uint8_t* from = x.mask;
  for (int64_t i = 0; i < steps; ++i) to[i] &= from[i];
}

Sequence output_of(Run& run, const ChannelSpec& spec, std::span<const Sequence> inputs) {
  const Sequence y = run.output_like(inputs[0], spec);
  for (const Sequence& x : inputs.subspan(1)) restrict_mask(y, x);
  return y;
}

Sequence join(Run& run, Combination combination, const ChannelSpec& spec,
              std::span<const Sequence> inputs) {
  const Sequence y = output_of(run, spec, inputs);
  int64_t offset = 0;
  for (const Sequence& x : inputs) {
    const Sequence values = in_dtype(run, x, spec.dtype);
    if (combination == Combination::kStack) {
      const Shape each = spec.shape.slice(1, spec.shape.rank());
      place(values, each, y, strides_of(each).data(), offset);
      offset += each.size();
    } else {
      Shape each = spec.shape;
      each.back() = padded(x.channels, spec.shape.rank()).back();
      place(values, each, y, strides_of(spec.shape).data(), offset);
      offset += each.back();
    }
  }
  return y;
}

// Memory for values of a dtype and of y's size: y itself if it has that dtype, otherwise scratch.
Sequence memory_of(Run& run, const Sequence& y, DType dtype) {
  if (y.dtype == dtype) return y;
  Sequence out = y;
  out.dtype = dtype;
  out.values = run.scratch<std::byte>(y.size(), static_cast<int64_t>(size_of(dtype)));
  return out;
}

// `total` in the memory for another dtype.
Sequence converted(Run& run, const Sequence& total, const Sequence& y, DType dtype) {
  if (total.dtype == dtype) return total;
  const Sequence out = memory_of(run, y, dtype);
  convert(total.values, total.dtype, out.values, dtype, y.size());
  return out;
}

// Whether the sum of the inputs needs neither conversions nor broadcasts.
bool are_alike(Combination combination, const ChannelSpec& spec, std::span<const Sequence> inputs) {
  return inputs.size() > 1 && total_dtype(combination, spec.dtype) == spec.dtype &&
         std::ranges::all_of(inputs, [&](const Sequence& x) {
           return x.dtype == spec.dtype && x.channels.size() == spec.shape.size();
         });
}

// As in JAX, each operation has the dtype of what it combines, so that small integers wrap even if
// a later input is a float.
Sequence reduce(Run& run, Combination combination, const ChannelSpec& spec,
                std::span<const Sequence> inputs) {
  const Sequence y = output_of(run, spec, inputs);
  const Arithmetic op = arithmetic_of(combination);
  if (are_alike(combination, spec, inputs)) {
    const std::byte* total = inputs[0].values;
    for (const Sequence& x : inputs.subspan(1)) {
      accumulate(run, op, total, x.values, y);
      total = y.values;
    }
    if (combination == Combination::kMean) divide(run, y, static_cast<float>(inputs.size()));
    return y;
  }
  const auto strides = strides_of(spec.shape);
  DType common = inputs[0].dtype;
  Sequence total = memory_of(run, y, total_dtype(combination, common));
  place(in_dtype(run, inputs[0], total.dtype), spec.shape, total, strides.data(), 0);
  for (const Sequence& x : inputs.subspan(1)) {
    common = promote(common, x.dtype);
    total = converted(run, total, y, total_dtype(combination, common));
    Sequence values = in_dtype(run, x, total.dtype);
    if (x.channels.size() != spec.shape.size()) {
      const Sequence narrow = values;
      values = total;
      values.values = run.scratch<std::byte>(static_cast<int64_t>(total.bytes()));
      place(narrow, spec.shape, values, strides.data(), 0);
    }
    accumulate(run, op, total.values, values.values, total);
  }
  converted(run, total, y, y.dtype);
  if (combination == Combination::kMean) divide(run, y, static_cast<float>(inputs.size()));
  return y;
}

}  // namespace

Combination read_combination(Config& config) {
  return static_cast<Combination>(config.choice(
      "combination",
      {"stack", "concat", "add", "mean", "product", "subtract", "divide", "maximum", "minimum"},
      0));
}

ChannelSpec combined_spec(Combination combination, std::span<const ChannelSpec> specs) {
  return combined(combination, specs);
}

Sequence combine(Run& run, Combination combination, std::span<const Sequence> inputs) {
  const ChannelSpec spec = combined(combination, inputs);
  const bool joins = combination == Combination::kStack || combination == Combination::kConcat;
  return joins ? join(run, combination, spec, inputs) : reduce(run, combination, spec, inputs);
}

bool add_in_place(Run& run, const Sequence& y, const Sequence& x) {
  if (y.dtype != x.dtype || y.channels != x.channels) return false;
  if (y.mask != x.mask) restrict_mask(y, x);
  accumulate(run, arithmetic_of(Combination::kPlus), y.values, x.values, y);
  return true;
}

}  // namespace sl::ops
