#include "ops/broadcast.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/pointwise.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"

namespace sl::ops {
namespace {

kernels::Binary kernel_of(Arithmetic op) {
  switch (op) {
    case Arithmetic::kAdd:
      return kernels::Binary::kAdd;
    case Arithmetic::kSubtract:
      return kernels::Binary::kSubtract;
    case Arithmetic::kMultiply:
      return kernels::Binary::kMultiply;
    case Arithmetic::kDivide:
      return kernels::Binary::kDivide;
    case Arithmetic::kMaximum:
      return kernels::Binary::kMaximum;
    default:
      return kernels::Binary::kMinimum;
  }
}

// The remainder with the divisor's sign.
float mod(float a, float b) {
  const float r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

template <typename T>
T mod(T a, T b) {
  if (b == 0 || b == static_cast<T>(-1)) return 0;
  const auto r = static_cast<T>(a % b);
  return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
}

template <typename T>
T apply(Arithmetic op, T a, T b) {
  constexpr bool kComplex = std::is_same_v<T, complex64>, kBool = std::is_same_v<T, uint8_t>;
  switch (op) {
    case Arithmetic::kAdd:
      if constexpr (kComplex)
        return a + b;
      else if constexpr (kBool)
        return static_cast<T>(a | b);
      else
        return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
    case Arithmetic::kMultiply:
      if constexpr (kComplex)
        return a * b;
      else if constexpr (kBool)
        return static_cast<T>(a & b);
      else
        return static_cast<T>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b));
    case Arithmetic::kSubtract:
      if constexpr (kComplex)
        return a - b;
      else
        return static_cast<T>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
    case Arithmetic::kDivide:
      if constexpr (kComplex) return a / b;
      break;
    case Arithmetic::kMaximum:
      return less(a, b) ? b : a;
    case Arithmetic::kMinimum:
      return less(b, a) ? b : a;
    case Arithmetic::kMod:
      if constexpr (!kComplex) return mod(a, b);
      break;
  }
  return a;
}

void float_arithmetic(Arithmetic op, const float* a, const float* b, float* y, int64_t count) {
  if (op != Arithmetic::kMod) {
    kernels::binary(kernel_of(op), a, b, y, count);
    return;
  }
  for (int64_t i = 0; i < count; ++i) y[i] = mod(a[i], b[i]);
}

// The integer part of a number, modulo 2^32; numbers beyond 2^63 become the nearest int32.
int32_t wrapped(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 0x1p63) return std::numeric_limits<int32_t>::max();
  if (value < -0x1p63) return std::numeric_limits<int32_t>::min();
  return static_cast<int32_t>(static_cast<int64_t>(value));
}

// The elements of a number or nested lists of numbers.
void collect(const Json& value, std::vector<int32_t>* out) {
  if (value.is_array()) {
    for (const Json& item : value) collect(item, out);
  } else if (value.is_boolean()) {
    out->push_back(value.get<bool>() ? 1 : 0);
  } else {
    out->push_back(wrapped(to_number(value).value_or(0)));
  }
}

// Whether there is a kernel that takes one value for all elements.
bool takes_scalars(Arithmetic op, DType dtype) {
  return dtype == DType::kFloat32 && op != Arithmetic::kMod;
}

// As in JAX, the remainder of a bool is an int32, and the quotient of integers a float32.
DType result_dtype(Arithmetic op, DType dtype) {
  if (op == Arithmetic::kDivide) return promote_inexact(dtype, dtype);
  return op == Arithmetic::kMod && dtype == DType::kBool ? DType::kInt32 : dtype;
}

// y[i] = op(x[i], p[i % period]) for `count` elements, a multiple of the period. If x is bfloat16
// or float16, p is float32.
struct Periodic {
  Arithmetic op;
  DType dtype;
  const std::byte* p;
  size_t period;

  void operator()(const std::byte* x, std::byte* y, int64_t count) const {
    if (count <= 0) return;  // an empty input may have an empty parameter
    const size_t element = size_of(dtype), row = period * element;
    if (period == 1 && takes_scalars(op, dtype)) {
      kernels::binary_scalar(kernel_of(op), reinterpret_cast<const float*>(x),
                             *reinterpret_cast<const float*>(p), reinterpret_cast<float*>(y),
                             count);
      return;
    }
    const size_t bytes = static_cast<size_t>(count) * element;
    for (size_t at = 0; at < bytes; at += row) {
      const auto n = static_cast<int64_t>(std::min(row, bytes - at) / element);
      if (is_half(dtype)) {
        map_as_floats(x + at, dtype, y + at, dtype, n, [&](float* v, int64_t begin, int64_t m) {
          float_arithmetic(op, v, reinterpret_cast<const float*>(p) + begin, v, m);
        });
      } else {
        arithmetic(op, dtype, x + at, p, y + at, n);
      }
    }
  }
};

// Whether `shape` without its leading ones is a suffix of `whole`. If so, broadcasting repeats its
// elements in order.
bool is_suffix(const Shape& shape, const Shape& whole) {
  int leading = 0;
  while (leading < shape.rank() && shape[leading] == 1) ++leading;
  return std::equal(shape.begin() + leading, shape.end(), whole.end() - (shape.rank() - leading),
                    whole.end());
}

// Repeats the parameter in scratch until its period is long enough for the kernels, or has `count`
// elements.
Periodic plan(Run& run, Arithmetic op, DType dtype, const BroadcastOperand& operand,
              const Shape& shape, const Shape& channels, int64_t count) {
  constexpr int64_t kShort = 64, kLong = 256;  // shorter rows cost more in calls than in arithmetic
  Periodic out{op, dtype, operand.values(run, dtype), 1};
  int64_t period = shape.size();
  if (period == 1 && takes_scalars(op, dtype)) return out;
  const size_t element = is_half(dtype) ? sizeof(float) : size_of(dtype);
  if (!is_suffix(shape, channels)) {
    period = channels.size();
    auto* expanded = run.scratch<std::byte>(period, static_cast<int64_t>(element));
    gather(broadcast_view(shape, channels), out.p, element, expanded);
    out.p = expanded;
  }
  if (period > 0 && period < kShort && period < count) {
    const int64_t times = std::min(kLong, count) / period;
    auto* tiled = run.scratch<std::byte>(times, period, static_cast<int64_t>(element));
    StridedView view;
    view.push_back(times, 0);
    view.push_back(period, 1);
    gather(view, out.p, element, tiled);
    out.p = tiled;
    period *= times;
  }
  out.period = static_cast<size_t>(std::max<int64_t>(period, 1));
  return out;
}

}  // namespace

void arithmetic(Arithmetic op, DType dtype, const std::byte* a, const std::byte* b, std::byte* y,
                int64_t count) {
  if (is_half(dtype)) {
    float other[1024];
    map_as_floats(a, dtype, y, dtype, count, [&](float* values, int64_t begin, int64_t n) {
      convert(b + static_cast<size_t>(begin) * size_of(dtype), dtype, other, DType::kFloat32, n);
      float_arithmetic(op, values, other, values, n);
    });
    return;
  }
  with_element(dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    const auto* s = reinterpret_cast<const T*>(a);
    const auto* t = reinterpret_cast<const T*>(b);
    auto* out = reinterpret_cast<T*>(y);
    if constexpr (std::is_same_v<T, float>) {
      float_arithmetic(op, s, t, out, count);
    } else {
      for (int64_t i = 0; i < count; ++i) out[i] = apply(op, s[i], t[i]);
    }
  });
}

BroadcastOperand::BroadcastOperand(const Array& array, const Json* numbers) : shape_(array.shape) {
  for (complex64 value : array.values) reals_.push_back(value.real());
  if (array.is_complex) complexes_ = array.values;
  if (numbers && !array.is_complex) {
    collect(*numbers, &integers_);
  } else {
    read_integers();
  }
}

BroadcastOperand::BroadcastOperand(const Tensor& tensor) : shape_(tensor.shape) {
  const int64_t count = tensor.shape.size();
  reals_.resize(static_cast<size_t>(count));
  convert(tensor.data, tensor.dtype, reals_.data(), DType::kFloat32, count);
  read_integers();
  if (tensor.dtype != DType::kComplex64) return;
  complexes_.resize(static_cast<size_t>(count));
  convert(tensor.data, tensor.dtype, complexes_.data(), DType::kComplex64, count);
}

void BroadcastOperand::read_integers() {
  integers_.resize(reals_.size());
  convert(reals_.data(), DType::kFloat32, integers_.data(), DType::kInt32,
          static_cast<int64_t>(reals_.size()));
}

ChannelSpec BroadcastOperand::output_spec(Arithmetic op, const ChannelSpec& input) const {
  if (op == Arithmetic::kMod && input.dtype == DType::kComplex64) {
    fail(Code::kShape, "input {}: complex numbers have no remainder", to_string(input));
  }
  if (shape_.rank() > input.shape.rank()) {
    fail(Code::kShape, "input {}: the parameter {} has more dimensions than the channels",
         to_string(input), to_string(shape_));
  }
  return {result_dtype(op, input.dtype), broadcast(input.shape, shape_)};
}

bool BroadcastOperand::keeps_spec(Arithmetic op, const ChannelSpec& input) const {
  if (result_dtype(op, input.dtype) != input.dtype) return false;
  return shape_.empty() || broadcast(input.shape, shape_) == input.shape;
}

const std::byte* BroadcastOperand::values(Run& run, DType dtype) const {
  const auto* reals = reinterpret_cast<const std::byte*>(reals_.data());
  const auto* complexes = reinterpret_cast<const std::byte*>(complexes_.data());
  const auto count = static_cast<int64_t>(reals_.size());
  if (dtype == DType::kFloat32) return reals;
  if (dtype == DType::kComplex64 && !complexes_.empty()) return complexes;
  if (dtype == DType::kInt32) return reinterpret_cast<const std::byte*>(integers_.data());
  if (is_half(dtype)) {
    auto* rounded = run.scratch<float>(count);
    std::copy(reals_.begin(), reals_.end(), rounded);
    round_to(dtype, rounded, count);
    return reinterpret_cast<const std::byte*>(rounded);
  }
  auto* out = run.scratch<std::byte>(count, static_cast<int64_t>(size_of(dtype)));
  if (is_integer(dtype)) {
    convert(integers_.data(), DType::kInt32, out, dtype, count);
  } else if (complexes_.empty()) {
    convert(reals, DType::kFloat32, out, dtype, count);
  } else {
    convert(complexes, DType::kComplex64, out, dtype, count);
  }
  return out;
}

Sequence broadcast_binary(Run& run, Arithmetic op, const Sequence& input,
                          const BroadcastOperand& operand) {
  const Shape channels = broadcast(input.channels, operand.shape());
  const Sequence y = run.output_like(input, {result_dtype(op, input.dtype), channels});
  Sequence x = input;
  if (op == Arithmetic::kDivide && y.dtype != x.dtype) {
    x.dtype = y.dtype;
    x.values = run.scratch<std::byte>(x.size(), static_cast<int64_t>(size_of(x.dtype)));
    convert(input.values, input.dtype, x.values, x.dtype, x.size());
  }
  if (y.dtype != x.dtype) {
    std::memset(y.values, 0, y.bytes());  // a bool has no remainder
    return y;
  }
  run.parallel().count(y.size());
  const bool grows = channels.size() != x.frame_size();
  if (grows) gather_steps(run, x, broadcast_view(x.channels, channels), y.values);
  const Sequence& from = grows ? y : x;
  const Periodic periodic = plan(run, op, x.dtype, operand, operand.shape(), channels, y.size());
  for_steps(run, y.steps(), y.frame_size(), [&](int64_t begin, int64_t end) {
    const size_t at = static_cast<size_t>(begin) * y.frame_bytes();
    periodic(from.values + at, y.values + at, (end - begin) * y.frame_size());
  });
  return y;
}

void broadcast_in_place(Run& run, Arithmetic op, const Sequence& x,
                        const BroadcastOperand& operand) {
  broadcast_in_place(run, op, x, operand, operand.shape());
}

void broadcast_in_place(Run& run, Arithmetic op, const Sequence& x, const BroadcastOperand& operand,
                        const Shape& shape) {
  run.parallel().count(x.size());
  const Periodic periodic = plan(run, op, x.dtype, operand, shape, x.channels, x.size());
  for_steps(run, x.steps(), x.frame_size(), [&](int64_t begin, int64_t end) {
    const size_t at = static_cast<size_t>(begin) * x.frame_bytes();
    periodic(x.values + at, x.values + at, (end - begin) * x.frame_size());
  });
}

}  // namespace sl::ops
