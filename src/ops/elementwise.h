// Elementwise functions of sequences, conversions between dtypes, masking, and loops over the
// elements on a run's threads.
#pragma once

#include <algorithm>
#include <complex>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "core/ratio.h"
#include "core/run.h"
#include "kernels/pointwise.h"
#include "ops/activation.h"

namespace sl::ops {

// Dtype of f(x), as in JAX: most functions convert integers to float32. Empty if f does not take
// the dtype of x.
std::optional<DType> unary_dtype(kernels::Unary op, DType x);

// y = f(x) with dtype unary_dtype(f, x). Real values are computed in float32, except for abs and
// relu of integers.
Sequence unary(Run& run, const Sequence& x, Activation activation);
// x = f(x), in place. Returns false and does nothing if the dtype of x is not a float.
bool unary_in_place(Run& run, const Sequence& x, Activation activation);

// Applies the activation in place to one row of `count` float32 values, rounding as a computation
// in `dtype` does.
void activate(float* values, int64_t count, Activation activation, DType dtype);
// Applies the activation in place to values [rows, length], rounding as a computation in `dtype`
// does.
void activate_rows(float* values, int64_t rows, int64_t length, Activation activation, DType dtype);
// Whether `activate` below takes the activation: it must be defined for complex values and give
// complex results, unlike kAbs. `activate` applies it in place to one row of complex values.
bool takes_complex(Activation activation);
void activate(complex64* values, int64_t count, Activation activation);

// Conversions of arrays between dtypes, as jnp.astype: to bool is "not zero", complex to real drops
// the imaginary part, float to int truncates and saturates.
void convert(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count);

// x converted to `dtype`, in a new output of the run.
Sequence cast(Run& run, const Sequence& x, DType dtype);

// Rounds float32 values in place to the nearest value that `dtype` can represent.
void round_to(DType dtype, float* values, int64_t count);
// Replaces each value x by cap * tanh(x / cap), each operation of which is rounded to the dtype.
void soft_cap(DType dtype, float cap, float* values, int64_t count);

// x as float32 values in scratch, rounded to `compute`; x's own values if both dtypes are float32.
const float* as_floats(Run& run, const Sequence& x, DType compute);

// x as float32 values. For a complex x these are all real parts, then all imaginary parts, in
// scratch.
const float* real_parts(Run& run, const Sequence& x);

// x with invalid steps set to zero, in scratch that lives until the layer returns; x itself if all
// steps are valid.
Sequence mask_invalid(Run& run, const Sequence& x);

// x with infinities and NaN in invalid steps replaced by zeros, in scratch that lives until the
// layer returns; x itself if all steps are valid.
Sequence finite_where_invalid(Run& run, const Sequence& x);

// Copies x to y, which has the same spec and length and may be x itself, and sets invalid steps to
// zero.
void copy_masked(const Sequence& x, const Sequence& y);
// Sets invalid steps of x to zero.
inline void zero_invalid(const Sequence& x) { copy_masked(x, x); }

// Minimum work of a thread, in numbers computed, that pays for waking it.
constexpr int64_t kThreadWork = 16384;

// Number of parts into which a run splits `count` pieces of work, each part of at least `grain`.
inline int64_t parts_of(const Run& run, int64_t count, int64_t grain) {
  if (run.parallel().num_threads() == 1 || count <= grain) return 1;
  return std::min<int64_t>(ceil_div(count, grain), int64_t{4} * run.parallel().num_threads());
}

// Calls fn(begin, end) on the run's threads for parts of [0, count), each of at least `grain`.
template <typename Fn>
void for_ranges(const Run& run, int64_t count, int64_t grain, Fn&& fn) {
  const int64_t parts = parts_of(run, count, grain);
  if (parts == 1) {
    fn(int64_t{0}, count);
    return;
  }
  const int64_t part = ceil_div(count, parts);
  run.parallel().each(ceil_div(count, part),
                      [&](int64_t i) { fn(i * part, std::min(count, (i + 1) * part)); });
}

// Calls fn(begin, end, scratch) on the run's threads for parts of [0, count), each of at least
// `grain` and with its own `floats` floats of scratch.
template <typename Fn>
void for_ranges_with_scratch(Run& run, int64_t count, int64_t grain, int64_t floats, Fn&& fn) {
  const int64_t parts = parts_of(run, count, grain);
  auto* scratch = run.scratch<float>(parts, floats);
  if (parts == 1) {
    fn(int64_t{0}, count, scratch);
    return;
  }
  const int64_t part = ceil_div(count, parts);
  run.parallel().each(ceil_div(count, part), [&](int64_t i) {
    fn(i * part, std::min(count, (i + 1) * part), scratch + i * floats);
  });
}

// Minimum number of steps of `frame` numbers each that pays for waking a thread.
inline int64_t steps_of_work(int64_t frame) {
  return std::max<int64_t>(1, kThreadWork / std::max<int64_t>(frame, 1));
}

// Calls fn(begin, end) on the run's threads for parts of a sequence's steps, of `frame` elements
// each.
template <typename Fn>
void for_steps(const Run& run, int64_t steps, int64_t frame, Fn&& fn) {
  if (run.parallel().num_threads() == 1) {  // saves the division
    fn(int64_t{0}, steps);
    return;
  }
  for_ranges(run, steps, steps_of_work(frame), std::forward<Fn>(fn));
}

// y = x, with fn(values, begin, count) applied to float32 chunks on the way, in place.
template <typename Fn>
void map_as_floats(const std::byte* x, DType x_dtype, std::byte* y, DType y_dtype, int64_t count,
                   Fn&& fn) {
  constexpr int64_t kChunk = 1024;
  float chunk[kChunk];
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t n = std::min(kChunk, count - begin);
    convert(x + static_cast<size_t>(begin) * size_of(x_dtype), x_dtype, chunk, DType::kFloat32, n);
    fn(chunk, begin, n);
    convert(chunk, DType::kFloat32, y + static_cast<size_t>(begin) * size_of(y_dtype), y_dtype, n);
  }
}

// The C++ type of an element in memory; bool is a byte of 0 or 1.
template <typename T>
struct Element {
  using Type = T;
};

// Calls fn(Element<T>()) with the type of a dtype: float for bfloat16 and float16, which are
// computed as float32.
template <typename Fn>
void with_element(DType dtype, Fn&& fn) {
  switch (dtype) {
#define SL_DTYPE(Name, C_NAME, value, name, Type, kind, ...) \
  case DType::k##Name:                                       \
    return fn(Element<std::conditional_t<DTypeKind::kind == DTypeKind::kHalf, float, Type>>());
#include "core/dtypes.inc"
  }
}

// The order that max and min use. Complex numbers compare by real part, then by imaginary part.
template <typename T>
bool less(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, complex64>) {
    return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
  } else {
    return a < b;
  }
}

}  // namespace sl::ops
