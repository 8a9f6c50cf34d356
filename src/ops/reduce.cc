#include "ops/reduce.h"

#include <algorithm>
#include <type_traits>

#include "kernels/reduce.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace sl::ops {
namespace {

// Rows [count, length] of elements, each of which is reduced to one value.
struct Rows {
  const std::byte* values;
  int64_t count;
  int64_t length;
};

Rows rows_of(Run& run, const Sequence& x, uint32_t axes) {
  const FrameRows rows = rows_along(x.channels, axes);
  const int64_t count = rows.length == 0 ? 0 : x.size() / rows.length;
  if (rows.in_place) return {x.values, count, rows.length};
  auto* sorted = run.scratch<std::byte>(static_cast<int64_t>(x.bytes()));
  gather_steps(run, x, rows.to_rows, sorted);
  return {sorted, count, rows.length};
}

float reduce_floats(Reduction op, const float* x, int64_t n) {
  switch (op) {
    case Reduction::kSum:
      return kernels::sum(x, n);
    case Reduction::kMean:
      return kernels::sum(x, n) / static_cast<float>(n);
    case Reduction::kMax:
      return kernels::max(x, n);
    default:
      return kernels::min(x, n);
  }
}

template <typename T>
T largest(Reduction op, const T* x, int64_t n) {
  T out = x[0];
  for (int64_t i = 1; i < n; ++i) {
    if (op == Reduction::kMax ? less(out, x[i]) : less(x[i], out)) out = x[i];
  }
  return out;
}

complex64 complex_total(Reduction op, const complex64* x, int64_t n) {
  complex64 sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  return op == Reduction::kMean ? sum / static_cast<float>(n) : sum;
}

template <typename T>
int32_t integer_sum(const T* x, int64_t n) {
  uint32_t sum = 0;  // wraps, as in JAX
  for (int64_t i = 0; i < n; ++i) sum += static_cast<uint32_t>(x[i]);
  return static_cast<int32_t>(sum);
}

// Minimum length of rows that are folded into one row, a vector of it at a time.
constexpr int64_t kMinFolded = 8;

// Extremes of floats over the first axes of each frame, which is then rows that lie one after the
// other. False if it is another reduction.
bool fold_first_axes(Run& run, Reduction op, const Sequence& x, uint32_t axes, const Sequence& y) {
  const bool is_extreme = op == Reduction::kMax || op == Reduction::kMin;
  const int64_t row = y.frame_size();
  if (x.dtype != DType::kFloat32 || !is_extreme || (axes & (axes + 1)) != 0 || row < kMinFolded)
    return false;
  const int64_t frame = x.frame_size(), rows = frame / row;
  if (rows == 0) return false;
  const auto fold = op == Reduction::kMax ? kernels::Binary::kMaximum : kernels::Binary::kMinimum;
  for_steps(run, x.steps(), frame, [&](int64_t begin, int64_t end) {
    kernels::fold_windows(fold, x.floats() + begin * frame, frame, end - begin, row, rows, row,
                          y.floats() + begin * row);
  });
  return true;
}

// Reduces one row of a dtype that is not reduced in float32.
template <typename T>
void reduce_row(Reduction op, const T* x, int64_t n, std::byte* y, int64_t row) {
  const bool total = op == Reduction::kSum || op == Reduction::kMean;
  if constexpr (std::is_same_v<T, complex64>) {
    auto* out = reinterpret_cast<complex64*>(y) + row;
    *out = total ? complex_total(op, x, n) : largest(op, x, n);
  } else if (total) {
    reinterpret_cast<int32_t*>(y)[row] = integer_sum(x, n);
  } else {
    reinterpret_cast<T*>(y)[row] = largest(op, x, n);
  }
}

// The rows converted to float32, for bfloat16, float16 and means of integers.
const float* row_floats(Run& run, const Rows& rows, DType dtype) {
  if (dtype == DType::kFloat32) return reinterpret_cast<const float*>(rows.values);
  const int64_t count = rows.count * rows.length;
  auto* floats = run.scratch<float>(count);
  convert(rows.values, dtype, floats, DType::kFloat32, count);
  return floats;
}

template <typename T>
int32_t argmax_row(const T* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    // x[best] == x[best] is false for NaN, so that the first NaN stays the best.
    const bool better = x[best] == x[best] && !(x[i] <= x[best]);
    if (better) best = i;
  }
  return static_cast<int32_t>(best);
}

}  // namespace

DType reduced_dtype(Reduction op, DType dtype) {
  if (is_inexact(dtype)) return dtype;
  if (op == Reduction::kMean) return DType::kFloat32;
  return op == Reduction::kSum ? DType::kInt32 : dtype;
}

Sequence reduce(Run& run, Reduction op, const Sequence& x, uint32_t axes, const Shape& channels) {
  const DType dtype = reduced_dtype(op, x.dtype);
  const Sequence y = run.output_like(x, {dtype, channels});
  if (fold_first_axes(run, op, x, axes, y)) return y;
  const Rows rows = rows_of(run, x, axes);
  if (!is_float(dtype)) {
    with_element(x.dtype, [&](auto element) {
      using T = typename decltype(element)::Type;
      if constexpr (!std::is_same_v<T, float>) {
        const auto* values = reinterpret_cast<const T*>(rows.values);
        for_steps(run, rows.count, rows.length, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            reduce_row(op, values + i * rows.length, rows.length, y.values, i);
          }
        });
      }
    });
    return y;
  }
  const float* values = row_floats(run, rows, x.dtype);
  float* out = dtype == DType::kFloat32 ? y.floats() : run.scratch<float>(rows.count);
  for_steps(run, rows.count, rows.length, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      out[i] = reduce_floats(op, values + i * rows.length, rows.length);
    }
  });
  if (is_half(dtype)) convert(out, DType::kFloat32, y.values, dtype, rows.count);
  return y;
}

Sequence argmax(Run& run, const Sequence& x) {
  const Shape channels = x.channels.slice(0, x.channels.rank() - 1);
  const Sequence y = run.output_like(x, {DType::kInt32, channels});
  const int64_t length = x.channels.back();
  const bool halves = is_half(x.dtype);
  const void* values = halves ? static_cast<const void*>(as_floats(run, x, x.dtype)) : x.values;
  with_element(halves ? DType::kFloat32 : x.dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    if constexpr (!std::is_same_v<T, complex64>) {
      for_steps(run, y.size(), length, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          y.as<int32_t>()[i] = argmax_row(static_cast<const T*>(values) + i * length, length);
        }
      });
    }
  });
  return y;
}

}  // namespace sl::ops
