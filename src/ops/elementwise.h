// Elementwise functions on sequences, conversions between dtypes, and masking.
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

// Dtype of f(x), as JAX has it: most functions take integers as float32. Empty if f does not take
// that dtype.
std::optional<DType> unary_dtype(kernels::Unary op, DType x);

// y = f(x), of dtype unary_dtype(f, x); reals other than integers' abs and relu in float32.
Sequence unary(Run& run, const Sequence& x, Activation activation);
// The same in x's own memory. False, with nothing done, if x is not of a float dtype.
bool unary_in_place(Run& run, const Sequence& x, Activation activation);

// In place on float32 values, which are one row, rounding as a computation in `dtype` does.
void activate(float* values, int64_t count, Activation activation, DType dtype);
// The same on rows of `length`.
void activate_rows(float* values, int64_t rows, int64_t length, Activation activation, DType dtype);
// The same on a row of complex values, by a function that takes them and gives complex ones.
bool takes_complex(Activation activation);
void activate(complex64* values, int64_t count, Activation activation);

// Conversions of arrays between dtypes, as jnp.astype: to bool is "not zero", complex to real drops
// the imaginary part, float to int truncates and saturates.
void convert(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count);

// The same of a sequence: y in the run's output.
Sequence cast(Run& run, const Sequence& x, DType dtype);

// Rounds float32 values to what `dtype` can hold; nothing for float32.
void round_to(DType dtype, float* values, int64_t count);

// x as float32 values in scratch, rounded to `compute`; x's own values if it is float32 and so is
// `compute`.
const float* as_floats(Run& run, const Sequence& x, DType compute);

// x as float32 values: of complex x all real parts, then all imaginary ones, in scratch.
const float* real_parts(Run& run, const Sequence& x);

// x with invalid steps zeroed, in scratch: it lives until the layer returns. x itself if there are
// none.
Sequence mask_invalid(Run& run, const Sequence& x);

// x with zeros in place of what is not finite in invalid steps, in scratch as above.
Sequence finite_where_invalid(Run& run, const Sequence& x);

// Copies x's values to y of the same spec and length, invalid steps as zeros.
void copy_masked(const Sequence& x, const Sequence& y);

// Numbers to compute that pay for waking a thread.
constexpr int64_t kThreadWork = 16384;

// How many parts a run makes of `count` pieces of work, each part of at least `grain`.
inline int64_t parts_of(const Run& run, int64_t count, int64_t grain) {
  if (run.parallel().num_threads() == 1 || count <= grain) return 1;
  return std::min<int64_t>(ceil_div(count, grain), int64_t{4} * run.parallel().num_threads());
}

// Calls fn(begin, end) for parts of [0, count) of at least `grain`, on the run's threads.
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

// The same with fn(begin, end, scratch), which has `floats` of scratch for each part.
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

// How many steps of `frame` numbers pay for waking a thread.
inline int64_t steps_of_work(int64_t frame) {
  return std::max<int64_t>(1, kThreadWork / std::max<int64_t>(frame, 1));
}

// for_ranges over a sequence's steps, each of `frame` elements.
template <typename Fn>
void for_steps(const Run& run, int64_t steps, int64_t frame, Fn&& fn) {
  if (run.parallel().num_threads() == 1) {  // saves a step the division
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

// How elements lie in memory: bool as a byte of 0 or 1.
template <typename T>
struct Element {
  using Type = T;
};

// Calls fn(Element<T>()) for a dtype that is not a half.
template <typename Fn>
void with_element(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kInt32:
      return fn(Element<int32_t>());
    case DType::kInt8:
      return fn(Element<int8_t>());
    case DType::kBool:
      return fn(Element<uint8_t>());
    case DType::kComplex64:
      return fn(Element<complex64>());
    default:
      return fn(Element<float>());
  }
}

// The order of max and min: of complex numbers by real part, then by imaginary part.
template <typename T>
bool less(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, complex64>) {
    return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
  } else {
    return a < b;
  }
}

}  // namespace sl::ops
