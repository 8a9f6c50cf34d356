#include "kernels/direct_convolution.h"

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/direct_convolution.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/panel.h"
#include "kernels/prefetch.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_registers_inl.h"

#ifndef SL_KERNELS_DIRECT_CONVOLUTION_SHARED
#define SL_KERNELS_DIRECT_CONVOLUTION_SHARED
namespace sl::kernels::direct_detail {

// The panel width of packed weights: see gemm.h.
inline constexpr int64_t kPanel = 16;

}  // namespace sl::kernels::direct_detail
#endif  // SL_KERNELS_DIRECT_CONVOLUTION_SHARED

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using direct_detail::kPanel;

using D = hn::CappedTag<float, kPanel>;
using V = hn::Vec<D>;

constexpr int64_t kLanes = HWY_MIN(HWY_LANES(float), static_cast<int>(kPanel));
// Whether masked stores leave the memory alone that they do not write.
constexpr bool kMasksStores = HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86;

// A tile of kMaxRows positions by kMaxWidth vectors of filters fills the registers.
constexpr int kMaxRows = kManyRegisters ? 12 : 6;
constexpr int kMaxWidth = 2;
// Whether a tile prefetches weights: if its vectors are whole cache lines, and it has so many rows
// that the prefetches cost nothing.
constexpr bool prefetches(int rows) { return kManyRegisters && rows >= kMaxRows / 2; }
// How far ahead weights are prefetched: those of a tile lie in the L2 cache, unless there are many
// and few positions.
constexpr int64_t kAheadFloats = 16 * kPanel;
constexpr int64_t kFarAheadFloats = 64 * kPanel;
// The first tiles of a block of inputs, at most this power of two, prefetch the weights of the next
// block.
constexpr int64_t kMaxAheadShift = 3;

// Inputs of a tile for which its weights stay in the L2 cache from one tile of positions to the
// next.
constexpr int64_t kInputBlock = 2048;

// Inputs [begin, end) of the run_count * depth of a position.
struct InputRange {
  int64_t begin;
  int64_t end;
  // Weights that a tile prefetches into the L2 cache, a float for every 2^ahead_shift that it
  // reads; null: none.
  const float* ahead = nullptr;
  int64_t ahead_shift = 0;
};

// A NaN stays: on x86 the maximum with a NaN is its second operand.
HWY_INLINE V at_least(V minimum, V v) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE2
  return hn::Max(minimum, v);
#else
  return hn::IfThenElse(hn::Le(v, minimum), minimum, v);
#endif
}

// The weights of the vector of filters that begins with `filter`.
HWY_INLINE const float* weights_at(const ConvolutionRow& row, int64_t filter) {
  return row.weights + filter / kPanel * (row.run_count * row.depth * kPanel) + filter % kPanel;
}

// Prefetches part `i` of `parts` of `count` floats into the L2 cache.
HWY_INLINE void prefetch_part(const float* x, int64_t count, int64_t i, int64_t parts) {
  constexpr int64_t kLine = 16;
  const int64_t lines = (count + kLine - 1) / kLine;
  for (int64_t k = lines * i / parts; k < lines * (i + 1) / parts; ++k)
    prefetch_into_l2(x + k * kLine);
}

HWY_INLINE void store_first(V v, float* y, int64_t count) {
  const D d;
  if (count >= kLanes) {
    hn::StoreU(v, d, y);
  } else if constexpr (kMasksStores) {
    hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, y);
  } else {
    store_some(v, y, count);
  }
}

// Adds the products of the inputs to kRows positions from `position` on and kWidth vectors of
// filters from `filter` on. All products of an output are added in their order, so that neither the
// tile's shape nor the range affects it. With kFar it prefetches what inputs.ahead says.
template <int kRows, int kWidth, bool kFar>
HWY_NOINLINE void broadcast_tile(const ConvolutionRow& row, const InputRange& inputs,
                                 int64_t position, int64_t filter) {
  const D d;
  const float* HWY_RESTRICT w[kWidth];
  V acc[kRows][kWidth];
  float* y = row.y + position * row.y_step + filter;
#pragma GCC unroll 16
  for (int v = 0; v < kWidth; ++v) {
    w[v] = weights_at(row, filter + v * kLanes);
  }
  if (inputs.begin == 0) {
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) {
      const V bias = hn::LoadU(d, row.bias + filter + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) acc[r][v] = bias;
    }
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) acc[r][v] = hn::LoadU(d, y + r * row.y_step + v * kLanes);
    }
  }
  const int64_t x_step = row.x_step, depth = row.depth;
  const int64_t offset = row.offset + position * x_step;
  // The first filters prefetch for all.
  const float* const ahead = row.ahead && filter == 0 ? row.ahead + position * x_step : nullptr;
  const int64_t far_step = row.run_count * depth * kPanel;
  int64_t at = inputs.begin * kPanel;
  const int64_t start_at = at;
  for (int64_t i = inputs.begin / depth; i * depth < inputs.end; ++i) {
    const int64_t first = HWY_MAX(inputs.begin - i * depth, 0);
    if (ahead && first == 0) prefetch_part(ahead, kRows * x_step, i, row.run_count);
    const int64_t end = HWY_MIN((i + 1) * depth, inputs.end) * kPanel;
    const float* HWY_RESTRICT x = row.runs[i];
    if (x == nullptr) {
      at = end;
      continue;
    }
    // Each stands for three rows, as one for each would take more registers than there are.
    constexpr int kBases = (kRows + 2) / 3;
    const float* HWY_RESTRICT base[kBases];
    for (int b = 0; b < kBases; ++b) base[b] = x + offset + first + 3 * b * x_step;
    for (; at < end; at += kPanel) {
      V b[kWidth];
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) {
        if constexpr (prefetches(kRows)) hwy::Prefetch(w[v] + at + kAheadFloats);
        b[v] = hn::LoadU(d, w[v] + at);
      }
      if constexpr (kFar) {
        const float* const far = inputs.ahead + ((at - start_at) >> inputs.ahead_shift);
#pragma GCC unroll 16
        for (int v = 0; v < kWidth; ++v) prefetch_into_l2(far + v * far_step);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const V a = hn::Set(d, base[r / 3][r % 3 * x_step]);
#pragma GCC unroll 16
        for (int v = 0; v < kWidth; ++v) acc[r][v] = hn::MulAdd(a, b[v], acc[r][v]);
      }
#pragma GCC unroll 16
      for (int b = 0; b < kBases; ++b) ++base[b];
    }
  }
  if (inputs.end == row.run_count * depth) {
    const V minimum = hn::Set(d, row.minimum);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) acc[r][v] = at_least(minimum, acc[r][v]);
    }
  }
  const int64_t filters = row.filters - filter;
  if (row.streams && filters >= kWidth * kLanes && inputs.end == row.run_count * depth) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r, y += row.y_step) {
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) hn::Stream(acc[r][v], d, y + v * kLanes);
    }
    return;
  }
  if (filters >= kWidth * kLanes) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r, y += row.y_step) {
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) hn::StoreU(acc[r][v], d, y + v * kLanes);
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r, y += row.y_step) {
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) store_first(acc[r][v], y + v * kLanes, filters - v * kLanes);
  }
}

// Runs the tile for `rows` in [1, kRows].
template <int kRows, int kWidth>
HWY_INLINE void broadcast_rows(int64_t rows, const ConvolutionRow& row, const InputRange& inputs,
                               int64_t position, int64_t filter) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return broadcast_rows<kRows - 1, kWidth>(rows, row, inputs, position, filter);
  }
  if constexpr (kManyRegisters) {
    if (inputs.ahead) {
      return broadcast_tile<kRows, kWidth, true>(row, inputs, position, filter);
    }
  }
  broadcast_tile<kRows, kWidth, false>(row, inputs, position, filter);
}

// Adds the products of the inputs to all positions, in tiles of nearly equal height. `next` are the
// weights that follow if they are to be prefetched; otherwise null.
template <int kWidth>
HWY_INLINE void broadcast_range(const ConvolutionRow& row, const InputRange& range, int64_t filter,
                                const float* next) {
  const int64_t tiles = (row.count + kMaxRows - 1) / kMaxRows;
  if (tiles == 0) return;
  const int64_t least = row.count / tiles, higher = row.count % tiles;
  int64_t shift = 0, position = 0;
  while (shift < kMaxAheadShift && int64_t{2} << shift <= tiles) ++shift;
  for (int64_t i = 0; i < tiles; ++i) {
    InputRange inputs = range;
    inputs.ahead_shift = shift;
    if (next && i < int64_t{1} << shift)
      inputs.ahead = next + (((range.end - range.begin) * kPanel * i) >> shift);
    const int64_t rows = least + (i < higher ? 1 : 0);
    broadcast_rows<kMaxRows, kWidth>(rows, row, inputs, position, filter);
    position += rows;
  }
}

// Computes all positions. Outputs are partial sums from one block of inputs to the next one, which
// must be whole vectors.
template <int kWidth>
HWY_INLINE void broadcast_tiles(const ConvolutionRow& row, int64_t filter) {
  const int64_t inputs = row.run_count * row.depth;
  const bool divides = row.count > kMaxRows && row.filters - filter >= kWidth * kLanes;
  const int64_t blocks = divides ? HWY_MAX(inputs / kInputBlock, 1) : 1;
  const bool is_large = inputs * row.filters >= kLargeWeights;
  const float* const own = weights_at(row, filter);
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t begin = inputs * i / blocks, end = inputs * (i + 1) / blocks;
    const float* next = nullptr;
    if (is_large && row.count <= kMaxRows) {
      next = own + kFarAheadFloats;
    } else if (is_large && i + 1 < blocks) {
      next = own + end * kPanel;
    } else if (is_large && filter + 2 * kWidth * kLanes <= row.filters) {
      next = weights_at(row, filter + kWidth * kLanes);
    }
    broadcast_range<kWidth>(row, {begin, end}, filter, next);
  }
}

#if HWY_TARGET != HWY_SCALAR
// Adds the blocks of four lanes of a vector.
template <class DV>
HWY_INLINE auto sum_blocks(DV d, hn::Vec<DV> v) {
  if constexpr (hn::MaxLanes(d) <= 4) {
    return v;
  } else {
    const hn::Half<DV> half;
    return sum_blocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// A vector of four lanes: lane i has the sum of the lanes of v[i].
HWY_INLINE auto sums_of_four(const V* v) {
  const D d;
  const hn::Repartition<double, D> pairs;
  const V ab = hn::Add(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
  const V ce = hn::Add(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
  const auto first = hn::BitCast(pairs, ab), second = hn::BitCast(pairs, ce);
  return sum_blocks(d, hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, first, second)),
                               hn::BitCast(d, hn::InterleaveUpper(pairs, first, second))));
}
#endif

// out[i] = the sum of the lanes of v[i], for kCount vectors, a multiple of 4.
template <int kCount>
HWY_INLINE void sum_lanes(const V (&v)[kCount], float* out) {
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < kCount; ++i) out[i] = hn::GetLane(v[i]);
#else
#pragma GCC unroll 16
  for (int i = 0; i < kCount; i += 4) {
    hn::StoreU(sums_of_four(v + i), hn::CappedTag<float, 4>(), out + i);
  }
#endif
}

// Positions of a tile of so many filters.
constexpr int dot_rows(int filters) {
  constexpr int kMany[] = {8, 8, 6, 6, 4, 4, 3, 3};
  constexpr int kFew[] = {8, 4, 4, 3, 2, 2, 1, 1};
  return kManyRegisters ? kMany[filters - 1] : kFew[filters - 1];
}

template <int kRows, int kFilters, int kCount>
HWY_INLINE void add_products(const V (&x)[kRows], const float* w, int64_t w_step,
                             V (&acc)[kCount]) {
  const D d;
#pragma GCC unroll 16
  for (int f = 0; f < kFilters; ++f) {
    const V b = hn::LoadU(d, w + f * w_step);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      acc[r * kFilters + f] = hn::MulAdd(x[r], b, acc[r * kFilters + f]);
    }
  }
}

template <int kRows, int kFilters>
HWY_INLINE void dot_tile(const ConvolutionRow& row, int64_t position) {
  const D d;
  constexpr int kCount = (kRows * kFilters + 3) / 4 * 4;
  V acc[kCount];
#pragma GCC unroll 32
  for (int i = 0; i < kCount; ++i) acc[i] = hn::Zero(d);
  const int64_t depth = row.depth, x_step = row.x_step, w_step = row.run_count * depth;
  const int64_t offset = row.offset + position * x_step;
  // The last vector of a run ends with it; of that vector, what was added before is zero.
  const int64_t rest = depth % kLanes, last = depth - kLanes;
  const auto added = hn::FirstN(d, static_cast<size_t>(kLanes - rest));
  const float* w = row.weights;
  for (int64_t i = 0; i < row.run_count; ++i, w += depth) {
    if (row.runs[i] == nullptr) continue;
    const float* x = row.runs[i] + offset;
    V a[kRows];
    for (int64_t k = 0; k <= last; k += kLanes) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) a[r] = hn::LoadU(d, x + r * x_step + k);
      add_products<kRows, kFilters>(a, w + k, w_step, acc);
    }
    if (rest == 0) continue;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      a[r] = hn::IfThenZeroElse(added, hn::LoadU(d, x + r * x_step + last));
    }
    add_products<kRows, kFilters>(a, w + last, w_step, acc);
  }
  HWY_ALIGN float sums[kCount];
  sum_lanes(acc, sums);
  float* y = row.y + position * row.y_step;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r, y += row.y_step) {
#pragma GCC unroll 16
    for (int f = 0; f < kFilters; ++f) {
      const float value = sums[r * kFilters + f] + row.bias[f];
      y[f] = value <= row.minimum ? row.minimum : value;
    }
  }
}

template <int kFilters>
HWY_NOINLINE void dot_of(const ConvolutionRow& row) {
  constexpr int kRows = dot_rows(kFilters);
  if (row.count < kRows) {
    for (int64_t p = 0; p < row.count; ++p) dot_tile<1, kFilters>(row, p);
    return;
  }
  // The last tile ends with the row: it computes some positions again.
  for (int64_t p = 0; p < row.count; p += kRows) {
    dot_tile<kRows, kFilters>(row, HWY_MIN(p, row.count - kRows));
  }
}

template <int kFilters>
HWY_INLINE void dot_up_to(const ConvolutionRow& row) {
  if constexpr (kFilters > 1) {
    if (row.filters < kFilters) return dot_up_to<kFilters - 1>(row);
  }
  dot_of<kFilters>(row);
}

}  // namespace

void broadcast_all(const ConvolutionRow& row) {
  int64_t filter = 0;
  for (; filter + kLanes < row.filters; filter += kMaxWidth * kLanes) {
    broadcast_tiles<kMaxWidth>(row, filter);
  }
  if (filter < row.filters) broadcast_tiles<1>(row, filter);
  if (row.streams) hwy::FlushStream();
}

void dot_all(const ConvolutionRow& row) { dot_up_to<static_cast<int>(kMaxDotFilters)>(row); }

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(broadcast_all);
HWY_EXPORT(dot_all);

void convolve_broadcast(const ConvolutionRow& row) { HWY_DYNAMIC_DISPATCH(broadcast_all)(row); }
void convolve_dot(const ConvolutionRow& row) { HWY_DYNAMIC_DISPATCH(dot_all)(row); }

namespace reference {

void convolve_row(const ConvolutionRow& row) {
  for (int64_t p = 0; p < row.count; ++p) {
    for (int64_t f = 0; f < row.filters; ++f) {
      double sum = row.bias[f];
      for (int64_t i = 0; i < row.run_count; ++i) {
        for (int64_t k = 0; row.runs[i] && k < row.depth; ++k) {
          const float x = row.runs[i][row.offset + p * row.x_step + k];
          sum += static_cast<double>(x) * row.weights[(i * row.depth + k) * row.filters + f];
        }
      }
      const auto value = static_cast<float>(sum);
      row.y[p * row.y_step + f] = value <= row.minimum ? row.minimum : value;
    }
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
