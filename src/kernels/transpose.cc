#include "kernels/transpose.h"

#include <algorithm>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/transpose.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Rows and columns of a tile: it covers whole cache lines of both x and y.
constexpr int64_t kTile = 16;

#if HWY_TARGET == HWY_SCALAR
constexpr int64_t kSquare = 1;

HWY_INLINE void transpose_square(const float* x, int64_t, float* y, int64_t) { *y = *x; }
#else
constexpr int64_t kSquare = 4;

using D = hn::FixedTag<float, 4>;
using V = hn::Vec<D>;

HWY_INLINE V halves(V a, V b, bool upper) {
  const hn::Repartition<double, D> wide;
  const auto from = hn::BitCast(wide, a), with = hn::BitCast(wide, b);
  return hn::BitCast(
      D(), upper ? hn::InterleaveUpper(wide, from, with) : hn::InterleaveLower(wide, from, with));
}

HWY_INLINE void transpose_square(const float* x, int64_t x_stride, float* y, int64_t y_stride) {
  const D d;
  const V a = hn::LoadU(d, x), b = hn::LoadU(d, x + x_stride);
  const V c = hn::LoadU(d, x + 2 * x_stride), e = hn::LoadU(d, x + 3 * x_stride);
  const V low = hn::InterleaveLower(d, a, b), high = hn::InterleaveUpper(d, a, b);
  const V low2 = hn::InterleaveLower(d, c, e), high2 = hn::InterleaveUpper(d, c, e);
  hn::StoreU(halves(low, low2, false), d, y);
  hn::StoreU(halves(low, low2, true), d, y + y_stride);
  hn::StoreU(halves(high, high2, false), d, y + 2 * y_stride);
  hn::StoreU(halves(high, high2, true), d, y + 3 * y_stride);
}
#endif

// How many rows or columns ahead a matrix of one column or row of tiles prefetches: its lines are
// too far apart for the CPU to do that.
constexpr int64_t kAhead = 4 * kTile;

HWY_INLINE void prefetch_lines(const float* first, int64_t stride) {
  for (int64_t i = 0; i < kTile; ++i) hwy::Prefetch(first + i * stride);
}

// Transposes a tile of at most kTile rows and columns.
HWY_INLINE void transpose_tile(const float* x, int64_t x_stride, int64_t rows, int64_t columns,
                               float* y, int64_t y_stride) {
  const int64_t whole_rows = rows - rows % kSquare, whole_columns = columns - columns % kSquare;
  for (int64_t i = 0; i < whole_rows; i += kSquare) {
    for (int64_t j = 0; j < whole_columns; j += kSquare) {
      transpose_square(x + i * x_stride + j, x_stride, y + j * y_stride + i, y_stride);
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j) {
      y[j * y_stride + i] = x[i * x_stride + j];
    }
  }
}

}  // namespace

void transpose_all(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
                   int64_t y_stride) {
  for (int64_t i = 0; i < rows; i += kTile) {
    const bool reads_ahead = columns <= kTile && i + kAhead + kTile <= rows;
    if (reads_ahead) prefetch_lines(x + (i + kAhead) * x_stride, x_stride);
    for (int64_t j = 0; j < columns; j += kTile) {
      const bool writes_ahead = rows <= kTile && j + kAhead + kTile <= columns;
      if (writes_ahead) prefetch_lines(y + (j + kAhead) * y_stride, y_stride);
      transpose_tile(x + i * x_stride + j, x_stride, std::min(kTile, rows - i),
                     std::min(kTile, columns - j), y + j * y_stride + i, y_stride);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(transpose_all);

void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(transpose_all)(x, x_stride, rows, columns, y, y_stride);
}

namespace reference {

void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* y,
               int64_t y_stride) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
