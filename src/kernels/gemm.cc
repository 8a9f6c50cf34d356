#include "kernels/gemm.h"

#include <algorithm>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/gemm_inl.h"
#include "kernels/prefetch.h"
#include "kernels/simd_registers_inl.h"

#ifndef SL_KERNELS_GEMM_SHARED
#define SL_KERNELS_GEMM_SHARED
namespace sl::kernels::gemm_detail {

// Rows of x per row block: kRowBlock * kDepthBlock floats stay in L2.
inline constexpr int64_t kRowBlock = 96;

// A part of a product: rows [row, row + rows) of x and y, rows [begin, begin + count) of W.
struct Block {
  int64_t row;
  int64_t rows;
  int64_t begin;
  int64_t count;
};

}  // namespace sl::kernels::gemm_detail
#endif  // SL_KERNELS_GEMM_SHARED

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using gemm_detail::Args;
using gemm_detail::Block;
using gemm_detail::kPanel;

using D = hn::CappedTag<float, kPanel>;
using V = hn::Vec<D>;

constexpr int kLanes = HWY_MIN(HWY_LANES(float), static_cast<int>(kPanel));
constexpr int kVectors = static_cast<int>(kPanel) / kLanes;  // per panel
constexpr int kAccumulators = kManyRegisters ? 24 : 12;
constexpr int kMaxRows = HWY_MAX(1, kManyRegisters ? 12 : kAccumulators / kVectors);

// Panels in a tile of so many rows. Every tile adds the products of one output in order of depth,
// so that neither the tile's shape nor m affects the result.
// Each panel is a stream of its own to the prefetcher, and streams often lie at the same sets of
// the L1 cache: four are faster than eight.
constexpr int panels_for_rows(int rows) {
  int panels = HWY_MAX(1, HWY_MIN(4, 8 / kVectors));
  while (panels > 1 && rows * panels * kVectors > kAccumulators) panels /= 2;
  return panels;
}
constexpr int kGroup = panels_for_rows(1);

// Tiles of many rows. With AVX-512 they are flat: rows of x often lie at the same sets of the L1
// cache, where twelve would displace each other.
constexpr int kTileRows = kManyRegisters ? 6 : kMaxRows;
constexpr int kTilePanels = panels_for_rows(kTileRows);

// Rows of W per depth block. That part of a tile's panels stays in the L1 or L2 cache while it is
// multiplied with all rows of a row block.
constexpr int64_t kDepthBlock = kManyRegisters ? 512 : 256;

// What a tile prefetches: nothing; for few rows its panels far ahead, and then the next ones; for
// many rows its panels from L2 and the next outputs, and perhaps a part of the panels that follow.
enum class Ahead { kNothing, kFewRows, kManyRows, kManyRowsAndPanels };
constexpr bool has_many_rows(Ahead ahead) {
  return ahead == Ahead::kManyRows || ahead == Ahead::kManyRowsAndPanels;
}

// Rows of a panel that a tile of many rows prefetches ahead, from L2.
constexpr int64_t kTileAhead = 16;

// A tile of many rows prefetches one row of a panel that follows for each row of its own, from the
// panels in turns: memory delivers several streams at once faster than one after the other. So the
// first tiles, as many as the group has panels, prefetch all of the next group.
constexpr int64_t kNextTiles = kTilePanels;

// The panels at the right edge that do not fill a group are too few to hide the latency of a single
// row's multiply-adds. They use this many partial sums per output, whatever the number of rows.
constexpr int kSplit = HWY_MAX(1, 4 / kVectors);
constexpr int kSplitRows = HWY_MAX(1, kAccumulators / (kSplit * kVectors));

// Panels of the right edge that a single row reads at once, as it does groups.
constexpr int kSplitPanels = HWY_MAX(1, HWY_MIN(4, kAccumulators / (kSplit * kVectors)));

// The arguments of one tile, with pointers to its first elements of x, W and y.
struct Tile {
  const float* x;
  int64_t x_stride;
  const float* w;
  int64_t panel_stride;
  int64_t count;
  const float* bias;  // at the tile's first column, or null
  bool accumulate;
  float* y;
  int64_t y_stride;
  const float* next_w;  // weights to prefetch, or null; panels are as far apart as those of w
  const float* next_y;  // outputs of the next tile of many rows
};

HWY_INLINE V initial(const Tile& t, int64_t row, int64_t column) {
  const D d;
  if (t.accumulate) return hn::LoadU(d, t.y + row * t.y_stride + column);
  return t.bias != nullptr ? hn::LoadU(d, t.bias + column) : hn::Zero(d);
}

// Computes kRows rows by kPanels whole panels, held in registers over the depth.
template <int kRows, int kPanels, Ahead kAhead>
HWY_NOINLINE void run_tile(const Tile& t) {
  const D d;
  constexpr int kWidth = kPanels * kVectors;
  V acc[kRows][kWidth];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) acc[r][v] = initial(t, r, v * kLanes);
  }
  const float* HWY_RESTRICT x = t.x;
  const float* HWY_RESTRICT w = t.w;
  const int64_t x_stride = t.x_stride;
  const int64_t panel_stride = t.panel_stride;
  if constexpr (has_many_rows(kAhead)) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int j = 0; j < kPanels; ++j) hwy::Prefetch(t.next_y + r * t.y_stride + j * kPanel);
    }
  }
  // Adds `count` products to each sum. Prefetches as many rows of weights from `next` on.
  const auto add = [&](int64_t count, [[maybe_unused]] const float* next) HWY_ATTR {
    for (int64_t p = 0; p < count; ++p, ++x, w += kPanel) {
      if constexpr (kAhead == Ahead::kFewRows) {
#pragma GCC unroll 16
        for (int j = 0; j < kPanels; ++j) prefetch_into_l2(next + j * panel_stride);
        next += kPanel;
      } else if constexpr (has_many_rows(kAhead)) {
#pragma GCC unroll 16
        for (int j = 0; j < kPanels; ++j) {
          hwy::Prefetch(w + j * panel_stride + kTileAhead * kPanel);
        }
      }
      if constexpr (kAhead == Ahead::kManyRowsAndPanels) {
        prefetch_into_l2(next + (p & (kPanels - 1)) * panel_stride);
        if ((p & (kPanels - 1)) == kPanels - 1) next += kPanel;
      }
      V b[kWidth];
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) {
        b[v] = hn::LoadU(d, w + (v / kVectors) * panel_stride + (v % kVectors) * kLanes);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const V a = hn::Set(d, x[r * x_stride]);
#pragma GCC unroll 16
        for (int v = 0; v < kWidth; ++v) acc[r][v] = hn::MulAdd(a, b[v], acc[r][v]);
      }
    }
  };
  if constexpr (kAhead == Ahead::kFewRows) {
    const int64_t ahead = HWY_MIN(gemm_detail::kAhead, t.count);
    add(t.count - ahead, w + ahead * kPanel);
    add(ahead, t.next_w);
  } else {
    add(t.count, t.next_w);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) {
      hn::StoreU(acc[r][v], d, t.y + r * t.y_stride + v * kLanes);
    }
  }
}

// Computes kRows rows by kPanels panels, with kSplit partial sums per output.
template <int kRows, int kPanels, bool kPrefetch>
HWY_NOINLINE void run_split_tile(const Tile& t) {
  const D d;
  constexpr int kWidth = kPanels * kVectors;
  V acc[kSplit][kRows][kWidth];
#pragma GCC unroll 16
  for (int s = 0; s < kSplit; ++s) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) {
        acc[s][r][v] = s == 0 ? initial(t, r, v * kLanes) : hn::Zero(d);
      }
    }
  }
  const float* HWY_RESTRICT x = t.x;
  const float* HWY_RESTRICT w = t.w;
  const int64_t x_stride = t.x_stride;
  const int64_t panel_stride = t.panel_stride;
  // Adds the products of row i of w to the partial sums s.
  const auto add = [&](int i, int s) HWY_ATTR {
    if constexpr (kPrefetch) {
#pragma GCC unroll 16
      for (int j = 0; j < kPanels; ++j) {
        prefetch_into_l2(w + j * panel_stride + (i + gemm_detail::kAhead) * kPanel);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V a = hn::Set(d, x[r * x_stride + i]);
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) {
        const float* from =
            w + (v / kVectors) * panel_stride + i * kPanel + (v % kVectors) * kLanes;
        acc[s][r][v] = hn::MulAdd(a, hn::LoadU(d, from), acc[s][r][v]);
      }
    }
  };
  int64_t p = 0;
  for (; p + kSplit <= t.count; p += kSplit, x += kSplit, w += kSplit * kPanel) {
#pragma GCC unroll 16
    for (int s = 0; s < kSplit; ++s) add(s, s);
  }
  for (; p < t.count; ++p, ++x, w += kPanel) add(0, 0);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) {
      V total = acc[0][r][v];
#pragma GCC unroll 16
      for (int s = 1; s < kSplit; ++s) total = hn::Add(total, acc[s][r][v]);
      hn::StoreU(total, d, t.y + r * t.y_stride + v * kLanes);
    }
  }
}

// Runs the tile for `rows` in [1, kRows], as many panels wide as suits that number of rows.
template <int kRows>
HWY_INLINE void run_rows(int64_t rows, const Tile& t) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_rows<kRows - 1>(rows, t);
  }
  if (t.next_w != nullptr) {
    run_tile<kRows, panels_for_rows(kRows), Ahead::kFewRows>(t);
  } else {
    run_tile<kRows, panels_for_rows(kRows), Ahead::kNothing>(t);
  }
}

// Runs the tile of many rows for `rows` in [1, kRows].
template <int kRows>
HWY_INLINE void run_many_rows(int64_t rows, const Tile& t) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_many_rows<kRows - 1>(rows, t);
  }
  if constexpr (!kManyRegisters) {
    run_tile<kRows, kTilePanels, Ahead::kNothing>(t);
  } else if (t.next_w != nullptr) {
    run_tile<kRows, kTilePanels, Ahead::kManyRowsAndPanels>(t);
  } else {
    run_tile<kRows, kTilePanels, Ahead::kManyRows>(t);
  }
}

template <int kRows>
HWY_INLINE void run_split_rows(int64_t rows, const Tile& t) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_split_rows<kRows - 1>(rows, t);
  }
  run_split_tile<kRows, 1, false>(t);
}

template <int kPanels>
HWY_INLINE void run_split_panels(int64_t panels, const Tile& t) {
  if constexpr (kPanels > 1) {
    if (panels < kPanels) return run_split_panels<kPanels - 1>(panels, t);
  }
  if (t.next_w != nullptr) {
    run_split_tile<1, kPanels, true>(t);
  } else {
    run_split_tile<1, kPanels, false>(t);
  }
}

// Runs the split tile of some rows by one panel, or of one row by some panels.
HWY_INLINE void run_split(int64_t rows, int64_t panels, const Tile& t) {
  if (rows == 1) {
    run_split_panels<kSplitPanels>(panels, t);
  } else {
    run_split_rows<kSplitRows>(rows, t);
  }
}

HWY_INLINE Tile tile_at(const Args& g, const Block& b, int64_t panel) {
  const int64_t column = panel * kPanel;
  return Tile{.x = g.x + b.row * g.x_stride + b.begin,
              .x_stride = g.x_stride,
              .w = g.packed + panel * g.k * kPanel + b.begin * kPanel,
              .panel_stride = g.k * kPanel,
              .count = b.count,
              .bias = g.bias != nullptr ? g.bias + column : nullptr,
              .accumulate = g.accumulate || b.begin > 0,
              .y = g.y + b.row * g.y_stride + column,
              .y_stride = g.y_stride,
              .next_w = nullptr,
              .next_y = nullptr};
}

// Runs a split tile whose last panel has fewer than kPanel columns. It works on a copy of y, so
// that it writes nothing past the end of a row.
HWY_INLINE void run_edge_tile(int64_t rows, int64_t panels, int64_t columns, Tile t) {
  HWY_ALIGN float copy[HWY_MAX(kSplitRows, kSplitPanels) * kPanel] = {};
  const int64_t width = panels * kPanel;
  float* const y = t.y;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) {
      const float bias = t.bias != nullptr ? t.bias[j] : 0.0f;
      copy[r * width + j] = t.accumulate ? y[r * t.y_stride + j] : bias;
    }
  }
  const int64_t y_stride = t.y_stride;
  t.accumulate = true;
  t.y = copy;
  t.y_stride = width;
  run_split(rows, panels, t);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(copy + r * width, columns, y + r * y_stride);
  }
}

// Computes the panels from `panel` to the right edge at full depth, since splitting the depth into
// blocks would change the partial sums. A single row takes several panels at once, for the reason
// that groups have.
HWY_INLINE void run_right_edge(const Args& g, int64_t m, int64_t panel) {
  const int64_t end = (g.n + kPanel - 1) / kPanel, step = m == 1 ? kSplitPanels : 1;
  const bool prefetches = g.n * g.k >= kLargeWeights;
  for (; panel < end; panel += step) {
    const int64_t panels = HWY_MIN(step, end - panel);
    const int64_t columns = HWY_MIN(panels * kPanel, g.n - panel * kPanel);
    for (int64_t row = 0; row < m; row += kSplitRows) {
      const int64_t rows = HWY_MIN(static_cast<int64_t>(kSplitRows), m - row);
      Tile t = tile_at(g, Block{row, rows, 0, g.k}, panel);
      if (prefetches) t.next_w = t.w;
      if (columns == panels * kPanel) {
        run_split(rows, panels, t);
      } else {
        run_edge_tile(rows, panels, columns, t);
      }
    }
  }
}

// Computes panels [0, panels) for at most kMaxRows rows in one tile of rows, so that the weights
// are read once.
HWY_INLINE void run_few_rows(const Args& g, int64_t m, int64_t panels) {
  const int64_t step = panels_for_rows(static_cast<int>(m));
  const bool prefetches = panels * kPanel * g.k >= kLargeWeights;
  for (int64_t panel = 0; panel < panels; panel += step) {
    Tile t = tile_at(g, Block{0, m, 0, g.k}, panel);
    // The last panels prefetch themselves, which does no harm.
    const bool is_last = (panel + step) * kPanel >= g.n;
    if (prefetches) t.next_w = is_last ? t.w : t.w + step * t.panel_stride;
    run_rows<kMaxRows>(m, t);
  }
}

// Computes panels [0, panels) for all rows of a block, in tiles of nearly equal height.
HWY_INLINE void run_row_block(const Args& g, const Block& block, int64_t panels) {
  const int64_t tiles = (block.rows + kTileRows - 1) / kTileRows;
  for (int64_t panel = 0; panel < panels; panel += kTilePanels) {
    Block b = block;
    // The next group, or the first one of the next rows of W.
    const float* next = nullptr;
    if (panel + kTilePanels < panels) {
      next = tile_at(g, b, panel + kTilePanels).w;
    } else if (b.begin + b.count < g.k) {
      next = tile_at(g, b, 0).w + b.count * kPanel;
    }
    for (int64_t i = 0; i < tiles; ++i) {
      b.rows = block.rows * (i + 1) / tiles - block.rows * i / tiles;
      Tile t = tile_at(g, b, panel);
      if (next != nullptr && i < kNextTiles) {
        t.next_w = next + b.count * i / kNextTiles * kPanel;
      }
      b.row += b.rows;
      t.next_y = i + 1 < tiles ? t.y + b.rows * t.y_stride : t.y;
      run_many_rows<kTileRows>(b.rows, t);
    }
  }
}

}  // namespace

int64_t column_group_all() { return kGroup * kPanel; }

void gemm_all(const Args& g, int64_t m) {
  using gemm_detail::kRowBlock;
  const int64_t full = g.n / kPanel;
  const int64_t grouped = full - full % kGroup;
  if (m <= kMaxRows) {
    run_few_rows(g, m, grouped);
  } else if (grouped > 0) {
    for (int64_t row = 0; row < m; row += kRowBlock) {
      const int64_t rows = HWY_MIN(kRowBlock, m - row);
      int64_t begin = 0;
      do {  // runs also if k is 0, since y gets the bias
        const int64_t count = HWY_MIN(kDepthBlock, g.k - begin);
        run_row_block(g, Block{row, rows, begin, count}, grouped);
        begin += kDepthBlock;
      } while (begin < g.k);
    }
  }
  run_right_edge(g, m, grouped);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(column_group_all);
HWY_EXPORT(gemm_all);

namespace {
using gemm_detail::kPanel;
}  // namespace

int64_t panel_width() { return kPanel; }

int64_t column_group() { return HWY_DYNAMIC_DISPATCH(column_group_all)(); }

int64_t column_groups(int64_t n) { return (n + column_group() - 1) / column_group(); }

int64_t part_column(int64_t n, int64_t part, int64_t parts) {
  return std::min(n, column_groups(n) * part / parts * column_group());
}

int64_t packed_size(int64_t k, int64_t n) { return (n + kPanel - 1) / kPanel * kPanel * k; }

void pack(const float* w, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n,
          float* packed) {
  for (int64_t column = 0; column < n; column += kPanel) {
    const int64_t columns = std::min(kPanel, n - column);
    for (int64_t p = 0; p < k; ++p, packed += kPanel) {
      const float* row = w + p * row_stride + column * col_stride;
      for (int64_t j = 0; j < columns; ++j) packed[j] = row[j * col_stride];
      std::fill(packed + columns, packed + kPanel, 0.0f);
    }
  }
}

void gemm_packed(const float* x, int64_t x_stride, const float* packed, int64_t m, int64_t k,
                 int64_t n, const float* bias, bool accumulate, float* y, int64_t y_stride) {
  if (m <= 0 || n <= 0) return;
  HWY_DYNAMIC_DISPATCH(gemm_all)
  (gemm_detail::Args{x, x_stride, packed, k, n, bias, accumulate, y, y_stride}, m);
}

namespace reference {

void gemm(const float* x, int64_t x_stride, const float* w, int64_t m, int64_t k, int64_t n,
          const float* bias, bool accumulate, float* y, int64_t y_stride) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float& out = y[i * y_stride + j];
      double total = accumulate ? out : (bias != nullptr ? bias[j] : 0.0f);
      for (int64_t p = 0; p < k; ++p) {
        total += static_cast<double>(x[i * x_stride + p]) * w[p * n + j];
      }
      out = static_cast<float>(total);
    }
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
