#include "ops/elementwise.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/complex.h"
#include "kernels/convert.h"
#include "kernels/reduce.h"
#include "ops/complex_functions.h"

namespace sl::ops {
namespace {

using kernels::Unary;

template <typename To>
To saturate(float value) {
  if (std::isnan(value)) return 0;
  // kEnd, 2^31 or 2^7, is exact in float32; the maximum integer, which is one less, may not be.
  constexpr float kEnd = -static_cast<float>(std::numeric_limits<To>::min());
  if (value >= kEnd) return std::numeric_limits<To>::max();
  if (value <= -kEnd) return std::numeric_limits<To>::min();
  return static_cast<To>(value);
}

template <typename From, typename To>
To convert_one(From value) {
  if constexpr (std::is_same_v<To, uint8_t>) {
    return value != From() ? 1 : 0;
  } else if constexpr (std::is_same_v<From, complex64>) {
    if constexpr (std::is_same_v<To, complex64>) {
      return value;
    } else {
      return convert_one<float, To>(value.real());
    }
  } else if constexpr (std::is_same_v<From, float> && std::is_integral_v<To>) {
    return saturate<To>(value);
  } else if constexpr (std::is_same_v<To, complex64>) {
    return {static_cast<float>(value), 0.0f};
  } else {
    return static_cast<To>(value);
  }
}

template <typename From, typename To>
void convert_array(const void* from, void* to, int64_t count) {
  const auto* x = static_cast<const From*>(from);
  auto* y = static_cast<To*>(to);
  for (int64_t i = 0; i < count; ++i) y[i] = convert_one<From, To>(x[i]);
}

void halves_to_floats(DType dtype, const void* from, float* to, int64_t count) {
  const auto* x = static_cast<const uint16_t*>(from);
  dtype == DType::kBFloat16 ? kernels::bf16_to_f32(x, to, count)
                            : kernels::f16_to_f32(x, to, count);
}

void floats_to_halves(const float* from, DType dtype, void* to, int64_t count) {
  auto* y = static_cast<uint16_t*>(to);
  dtype == DType::kBFloat16 ? kernels::f32_to_bf16(from, y, count)
                            : kernels::f32_to_f16(from, y, count);
}

// Converts from or to bfloat16 or float16 by way of float32.
void convert_through_floats(const std::byte* from, DType from_dtype, std::byte* to, DType to_dtype,
                            int64_t count) {
  constexpr int64_t kChunk = 256;
  float chunk[kChunk];
  for (int64_t i = 0; i < count; i += kChunk) {
    const int64_t n = std::min(kChunk, count - i);
    const auto at = static_cast<size_t>(i);
    convert(from + at * size_of(from_dtype), from_dtype, chunk, DType::kFloat32, n);
    convert(chunk, DType::kFloat32, to + at * size_of(to_dtype), to_dtype, n);
  }
}

void complex_range(Activation f, const complex64* x, std::byte* y, int64_t count) {
  if (f.op == Unary::kAbs) {
    kernels::magnitude(reinterpret_cast<const float*>(x), reinterpret_cast<float*>(y), count);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    reinterpret_cast<complex64*>(y)[i] = complex_unary(f.op, x[i], f.parameter);
  }
}

// y = abs(x) or relu(x) for integers.
template <typename T>
void integer_range(Unary op, const T* x, T* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    // The negative of the minimum integer is itself, as in JAX.
    const T negative = op == Unary::kAbs ? static_cast<T>(0u - static_cast<uint32_t>(x[i])) : T{0};
    y[i] = x[i] < T{0} ? negative : x[i];
  }
}

bool keeps_integers(Unary op) { return op == Unary::kAbs || op == Unary::kRelu; }

// Values of a chunk, rounded to bfloat16 or float16 after every operation. JAX does so too, and the
// difference shows where roundings add up or 1 + tanh nearly cancels.
struct RoundedChunk {
  float* y;
  int64_t n;
  DType dtype;

  void unary(Unary op) const {
    kernels::unary(op, y, y, n, 0);
    round_to(dtype, y, n);
  }
  void binary(kernels::Binary op, const float* a, const float* b) const {
    kernels::binary(op, a, b, y, n);
    round_to(dtype, y, n);
  }
  void scalar(kernels::Binary op, float b) const {
    kernels::binary_scalar(op, y, b, y, n);
    round_to(dtype, y, n);
  }
};

// y = 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), rounded after every operation.
void gelu_in_halves(const float* x, const RoundedChunk& chunk) {
  using kernels::Binary;
  float coefficients[] = {0.044715f, 0.7978845608f};
  round_to(chunk.dtype, coefficients, 2);
  chunk.binary(Binary::kMultiply, x, x);
  chunk.binary(Binary::kMultiply, chunk.y, x);
  chunk.scalar(Binary::kMultiply, coefficients[0]);
  chunk.binary(Binary::kAdd, x, chunk.y);
  chunk.scalar(Binary::kMultiply, coefficients[1]);
  chunk.unary(Unary::kTanh);
  chunk.scalar(Binary::kAdd, 1.0f);
  chunk.scalar(Binary::kMultiply, 0.5f);
  chunk.binary(Binary::kMultiply, x, chunk.y);
}

// y = 1 / (1 + e^-x), times x with `swish`, rounded after every operation.
void sigmoid_in_halves(const float* x, bool swish, const RoundedChunk& chunk) {
  using kernels::Binary;
  for (int64_t i = 0; i < chunk.n; ++i) chunk.y[i] = -x[i];
  chunk.unary(Unary::kExp);
  chunk.scalar(Binary::kAdd, 1.0f);
  for (int64_t i = 0; i < chunk.n; ++i) chunk.y[i] = 1.0f / chunk.y[i];
  round_to(chunk.dtype, chunk.y, chunk.n);
  if (swish) chunk.binary(Binary::kMultiply, x, chunk.y);
}

bool rounds_within(Unary op) {
  return op == Unary::kGeluTanh || op == Unary::kSigmoid || op == Unary::kSwish;
}

void activate_in_halves(Unary op, float* x, int64_t count, DType dtype) {
  constexpr int64_t kChunk = 256;
  float y[kChunk];
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const RoundedChunk chunk{y, std::min(kChunk, count - begin), dtype};
    if (op == Unary::kGeluTanh) {
      gelu_in_halves(x + begin, chunk);
    } else {
      sigmoid_in_halves(x + begin, op == Unary::kSwish, chunk);
    }
    std::copy_n(y, chunk.n, x + begin);
  }
}

// x = x - max(x) - log(sum(e^(x - max(x)))). Subtracting the maximum first avoids an overflow.
void log_softmax(float* x, int64_t n) {
  constexpr int64_t kChunk = 256;
  float chunk[kChunk];
  const float largest = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; i += kChunk) {
    const int64_t count = std::min(kChunk, n - i);
    kernels::binary_scalar(kernels::Binary::kSubtract, x + i, largest, x + i, count);
    kernels::unary(Unary::kExp, x + i, chunk, count, 0);
    sum += static_cast<double>(kernels::sum(chunk, count));
  }
  kernels::binary_scalar(kernels::Binary::kSubtract, x, static_cast<float>(std::log(sum)), x, n);
}

void standardize(float* x, int64_t n, float epsilon) {
  const auto count = static_cast<double>(n);
  double mean = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) mean += static_cast<double>(x[i]) / count;
  for (int64_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(x[i]) - mean;
    squares += difference * difference / count;
  }
  const double factor = 1 / std::sqrt(squares + static_cast<double>(epsilon));
  for (int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>((static_cast<double>(x[i]) - mean) * factor);
  }
}

void activate_row(float* x, int64_t n, Activation activation) {
  if (n == 0) return;
  if (activation.over_row == RowFunction::kSoftmax) {
    kernels::softmax(x, x, n);
  } else if (activation.over_row == RowFunction::kLogSoftmax) {
    log_softmax(x, n);
  } else {
    standardize(x, n, activation.parameter);
  }
}

// Softmax or log-softmax of a row of complex values. The maximum is by real, then imaginary part.
void activate_row(complex64* x, int64_t n, RowFunction function) {
  using Wide = std::complex<double>;
  if (n == 0) return;
  const Wide largest(*std::max_element(x, x + n, less<complex64>));
  Wide sum;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(Wide(x[i]) - largest);
  // std::log of a complex number may take a lock.
  const Wide log_sum(std::log(std::abs(sum)), std::arg(sum));
  for (int64_t i = 0; i < n; ++i) {
    const Wide shifted = Wide(x[i]) - largest;
    const bool log = function == RowFunction::kLogSoftmax;
    x[i] = static_cast<complex64>(log ? shifted - log_sum : std::exp(shifted) / sum);
  }
}

void unary_range(Activation f, const std::byte* x, DType x_dtype, std::byte* y, DType y_dtype,
                 int64_t count) {
  if (x_dtype == DType::kComplex64) {
    complex_range(f, reinterpret_cast<const complex64*>(x), y, count);
  } else if (is_integer(x_dtype) && y_dtype == x_dtype) {
    with_element(x_dtype, [&](auto element) {
      using T = typename decltype(element)::Type;
      if constexpr (std::is_integral_v<T>)
        integer_range(f.op, reinterpret_cast<const T*>(x), reinterpret_cast<T*>(y), count);
    });
  } else if (x_dtype == DType::kFloat32) {
    kernels::unary(f.op, reinterpret_cast<const float*>(x), reinterpret_cast<float*>(y), count,
                   f.parameter);
  } else {
    map_as_floats(x, x_dtype, y, y_dtype, count,
                  [&](float* values, int64_t, int64_t n) { activate(values, n, f, y_dtype); });
  }
}

void unary_into(const Run& run, const Sequence& x, Activation activation, const Sequence& y) {
  run.parallel().count(x.size());
  for_steps(run, x.size(), 1, [&](int64_t begin, int64_t end) {
    const auto at = static_cast<size_t>(begin);
    unary_range(activation, x.values + at * size_of(x.dtype), x.dtype,
                y.values + at * size_of(y.dtype), y.dtype, end - begin);
  });
}

}  // namespace

std::optional<DType> unary_dtype(Unary op, DType x) {
  if (op == Unary::kIdentity || is_float(x)) return x;
  if (x == DType::kComplex64) {
    if (!takes_complex(op)) return std::nullopt;
    return op == Unary::kAbs ? DType::kFloat32 : x;
  }
  if (op == Unary::kSigmoid || op == Unary::kSwish) return std::nullopt;
  if (op == Unary::kAbs) return x;
  if (op == Unary::kRelu) return x == DType::kBool ? DType::kInt32 : x;
  return DType::kFloat32;
}

Sequence unary(Run& run, const Sequence& x, Activation activation) {
  const DType dtype = unary_dtype(activation.op, x.dtype).value_or(x.dtype);
  // abs and relu of booleans only change the dtype.
  if (activation.op == Unary::kIdentity ||
      (x.dtype == DType::kBool && keeps_integers(activation.op))) {
    return cast(run, x, dtype);
  }
  const Sequence y = run.output_like(x, {dtype, x.channels});
  unary_into(run, x, activation, y);
  return y;
}

bool unary_in_place(Run& run, const Sequence& x, Activation activation) {
  if (x.dtype != DType::kFloat32 && !is_half(x.dtype)) return false;
  unary_into(run, x, activation, x);
  return true;
}

void activate(float* values, int64_t count, Activation activation, DType dtype) {
  if (!activation.is_elementwise()) {
    activate_row(values, count, activation);
    round_to(dtype, values, count);
    return;
  }
  if (activation.op == Unary::kIdentity) return;
  if (is_half(dtype) && rounds_within(activation.op)) {
    activate_in_halves(activation.op, values, count, dtype);
    return;
  }
  kernels::unary(activation.op, values, values, count, activation.parameter);
  round_to(dtype, values, count);
}

void activate_rows(float* values, int64_t rows, int64_t length, Activation activation,
                   DType dtype) {
  if (activation.is_elementwise()) return activate(values, rows * length, activation, dtype);
  for (int64_t i = 0; i < rows; ++i) activate(values + i * length, length, activation, dtype);
}

bool takes_complex(Activation activation) {
  return activation.is_elementwise() ? takes_complex(activation.op) && activation.op != Unary::kAbs
                                     : activation.over_row != RowFunction::kStandardize;
}

void activate(complex64* values, int64_t count, Activation activation) {
  if (activation.is_identity()) return;
  if (!activation.is_elementwise()) return activate_row(values, count, activation.over_row);
  for (int64_t i = 0; i < count; ++i) {
    values[i] = complex_unary(activation.op, values[i], activation.parameter);
  }
}

void convert(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count) {
  if (count <= 0) return;
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, static_cast<size_t>(count) * size_of(to_dtype));
  } else if (is_half(from_dtype) && to_dtype == DType::kFloat32) {
    halves_to_floats(from_dtype, from, static_cast<float*>(to), count);
  } else if (from_dtype == DType::kFloat32 && is_half(to_dtype)) {
    floats_to_halves(static_cast<const float*>(from), to_dtype, to, count);
  } else if (is_half(from_dtype) || is_half(to_dtype)) {
    convert_through_floats(static_cast<const std::byte*>(from), from_dtype,
                           static_cast<std::byte*>(to), to_dtype, count);
  } else {
    with_element(from_dtype, [&](auto x) {
      with_element(to_dtype, [&](auto y) {
        convert_array<typename decltype(x)::Type, typename decltype(y)::Type>(from, to, count);
      });
    });
  }
}

Sequence cast(Run& run, const Sequence& x, DType dtype) {
  if (dtype == x.dtype) return x;
  const Sequence y = run.output_like(x, {dtype, x.channels});
  for_steps(run, x.size(), 1, [&](int64_t begin, int64_t end) {
    const auto at = static_cast<size_t>(begin);
    convert(x.values + at * size_of(x.dtype), x.dtype, y.values + at * size_of(dtype), dtype,
            end - begin);
  });
  return y;
}

void round_to(DType dtype, float* values, int64_t count) {
  if (dtype == DType::kBFloat16) kernels::round_to_bf16(values, count);
  if (dtype == DType::kFloat16) kernels::round_to_f16(values, count);
}

void soft_cap(DType dtype, float cap, float* values, int64_t count) {
  kernels::binary_scalar(kernels::Binary::kDivide, values, cap, values, count);
  round_to(dtype, values, count);
  kernels::unary(kernels::Unary::kTanh, values, values, count, 0);
  round_to(dtype, values, count);
  kernels::binary_scalar(kernels::Binary::kMultiply, values, cap, values, count);
  round_to(dtype, values, count);
}

const float* as_floats(Run& run, const Sequence& x, DType compute) {
  const bool rounds = is_half(compute) && compute != x.dtype;
  if (x.dtype == DType::kFloat32 && !rounds) return x.floats();
  auto* values = run.scratch<float>(x.size());
  for_steps(run, x.size(), 1, [&](int64_t begin, int64_t end) {
    convert(x.values + static_cast<size_t>(begin) * size_of(x.dtype), x.dtype, values + begin,
            DType::kFloat32, end - begin);
    if (rounds) round_to(compute, values + begin, end - begin);
  });
  return values;
}

const float* real_parts(Run& run, const Sequence& x) {
  if (x.dtype != DType::kComplex64) return as_floats(run, x, DType::kFloat32);
  const int64_t size = x.size();
  float* parts = run.scratch<float>(2, size);
  for_steps(run, size, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      parts[i] = x.as<const complex64>()[i].real();
      parts[size + i] = x.as<const complex64>()[i].imag();
    }
  });
  return parts;
}

namespace {

// A sequence with scratch for a copy of x with other values in invalid steps; x itself if all steps
// are valid. The scratch is taken in either case, so that what a step uses does not depend on its
// mask.
Sequence copy_if_invalid(Run& run, const Sequence& x) {
  Sequence y = x;
  y.values = run.scratch<std::byte>(static_cast<int64_t>(x.bytes()));
  y.mask = run.scratch<uint8_t>(x.steps());
  if (x.all_valid()) return x;
  std::memcpy(y.mask, x.mask, static_cast<size_t>(x.steps()));
  return y;
}

// Replaces infinities and NaN, whose exponent bits are all set, by zeros.
template <typename T>
void drop_not_finite(std::byte* values, int64_t count, T exponent) {
  for (int64_t i = 0; i < count; ++i) {
    T bits;
    std::memcpy(&bits, values + static_cast<size_t>(i) * sizeof(T), sizeof(T));
    if ((bits & exponent) != exponent) continue;
    std::memset(values + static_cast<size_t>(i) * sizeof(T), 0, sizeof(T));
  }
}

}  // namespace

Sequence mask_invalid(Run& run, const Sequence& x) {
  const Sequence y = copy_if_invalid(run, x);
  if (y.values != x.values) copy_masked(x, y);
  return y;
}

Sequence finite_where_invalid(Run& run, const Sequence& x) {
  if (!is_inexact(x.dtype)) return x;
  const Sequence y = copy_if_invalid(run, x);
  if (y.values == x.values) return y;
  std::memcpy(y.values, x.values, x.bytes());
  for (int64_t i = 0; i < x.steps(); ++i) {
    if (x.mask[i]) continue;
    std::byte* frame = y.frame(0, i);
    if (x.dtype == DType::kBFloat16) {
      drop_not_finite<uint16_t>(frame, x.frame_size(), 0x7f80);
    } else if (x.dtype == DType::kFloat16) {
      drop_not_finite<uint16_t>(frame, x.frame_size(), 0x7c00);
    } else {
      drop_not_finite<uint32_t>(frame, static_cast<int64_t>(x.frame_bytes() / sizeof(float)),
                                0x7f800000);
    }
  }
  return y;
}

void copy_masked(const Sequence& x, const Sequence& y) {
  const size_t frame = x.frame_bytes();
  for (int64_t begin = 0, end = 0; begin < x.steps(); begin = end) {
    const uint8_t valid = x.mask[begin];
    while (end < x.steps() && x.mask[end] == valid) ++end;
    const size_t at = static_cast<size_t>(begin) * frame;
    const size_t bytes = static_cast<size_t>(end - begin) * frame;
    if (!valid) {
      std::memset(y.values + at, 0, bytes);
    } else if (y.values != x.values) {
      std::memcpy(y.values + at, x.values + at, bytes);
    }
  }
}

}  // namespace sl::ops
