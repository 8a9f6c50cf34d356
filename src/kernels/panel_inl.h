// Products of rows with panels of 16 columns, whatever the format of the weights: which rows and
// panels are computed together. Include it after <hwy/highway.h>, inside foreach_target.
#if defined(SL_KERNELS_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_PANEL_INL_H_
#undef SL_KERNELS_PANEL_INL_H_
#else
#define SL_KERNELS_PANEL_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/panel.h"
#include "kernels/prefetch.h"
#include "kernels/simd_registers_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kPanelColumns>;
using VF = hn::Vec<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VU = hn::Vec<DU>;

constexpr int kPanel = static_cast<int>(kPanelColumns);
constexpr int kLanes = HWY_MIN(HWY_LANES(float), kPanel);
constexpr int kVectors = kPanel / kLanes;  // per panel

// How far ahead of its reads a single row's product asks for weights. Prefetching by hardware ends
// at pages, and starts again late.
constexpr int64_t kPrefetchBytes = 2048;

// Bytes that a prefetch brings: the hardware fetches the neighbour of a line too.
constexpr int64_t kLinePair = 128;

// The distance from a position in a panel to what is to be asked for, in the panel itself or `gap`
// bytes behind its end, where the panel begins that is read next.
HWY_INLINE int64_t prefetch_distance(int64_t position, int64_t panel_bytes, int64_t gap) {
  const bool inside = position + kPrefetchBytes < panel_bytes;
  return kPrefetchBytes + (inside ? 0 : gap);
}

// What a tile of many rows prefetches into the L2 cache while it runs: the outputs of the next
// tile, and a part of the panels that follow.
struct Ahead {
  const float* y = nullptr;
  const char* w = nullptr;  // in the first of the panels
  int64_t lines = 0;        // of 64 bytes, in each panel
};

template <int kRows, int kPanels>
HWY_INLINE void prefetch_outputs(const Ahead& ahead, int64_t y_stride) {
  if (ahead.y == nullptr) return;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kPanels; ++i) {
      __builtin_prefetch(ahead.y + r * y_stride + i * kPanel, 1, 2);
    }
  }
}

// Prefetches what step `step` of `steps` does of the lines, in panels panel_bytes apart.
template <int kPanels>
HWY_INLINE void prefetch_step(const Ahead& ahead, int64_t panel_bytes, int64_t step, int64_t steps,
                              int64_t& line) {
  for (; line * steps < ahead.lines * (step + 1); ++line) {
#pragma GCC unroll 16
    for (int i = 0; i < kPanels; ++i) {
      prefetch_into_l2(ahead.w + i * panel_bytes + 64 * line);
    }
  }
}

// Where the results of a tile go: pointers to its first row and column.
struct Outputs {
  const float* bias;  // null if there is none
  bool accumulate;
  float* y;
  int64_t y_stride;
};

template <int kRows, int kWidth>
HWY_INLINE void load_outputs(const Outputs& out, VF (&total)[kRows][kWidth]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) {
      if (out.accumulate) {
        total[r][v] = hn::LoadU(DF(), out.y + r * out.y_stride + v * kLanes);
      } else {
        total[r][v] = out.bias != nullptr ? hn::LoadU(DF(), out.bias + v * kLanes) : hn::Zero(DF());
      }
    }
  }
}

template <int kRows, int kWidth>
HWY_INLINE void store_outputs(const Outputs& out, const VF (&total)[kRows][kWidth]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) {
      hn::StoreU(total[r][v], DF(), out.y + r * out.y_stride + v * kLanes);
    }
  }
}

// A Kernel has the type Args, which describes a product and has n and the Outputs of the whole
// product; the type Tile, which has an Outputs too, and an Ahead; kMaxRows, kMaxPanels (for that
// many rows), kMaxRowsOfPanel (for one panel) and panels_for_rows(rows); tile_at(args, row, panel);
// panel_lines(args), the lines of a panel that the product reads; and run<rows, panels>(tile).

// Runs a tile of `rows` in [1, kRows] rows.
template <class Kernel, int kPanels,
          int kRows = kPanels == 1 ? Kernel::kMaxRowsOfPanel : Kernel::kMaxRows>
HWY_INLINE void run_rows(int64_t rows, const typename Kernel::Tile& tile) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_rows<Kernel, kPanels, kRows - 1>(rows, tile);
  }
  Kernel::template run<kRows, kPanels>(tile);
}

// Runs a tile of which only `columns` columns exist. It works on a copy of y and of the bias, so
// that it touches nothing past the end of a row.
template <class Kernel>
HWY_INLINE void run_edge(int64_t rows, int64_t columns, typename Kernel::Tile tile) {
  HWY_ALIGN float copy[Kernel::kMaxRowsOfPanel * kPanel] = {};
  const Outputs out = tile.out;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) {
      const float bias = out.bias != nullptr ? out.bias[j] : 0.0f;
      copy[r * kPanel + j] = out.accumulate ? out.y[r * out.y_stride + j] : bias;
    }
  }
  tile.out = Outputs{nullptr, true, copy, kPanel};
  run_rows<Kernel, 1>(rows, tile);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(copy + r * kPanel, columns, out.y + r * out.y_stride);
  }
}

// Computes kRows rows of the panels in [panel, end): kPanels at a time, and fewer at the end.
template <class Kernel, int kRows, int kPanels = Kernel::panels_for_rows(kRows)>
HWY_INLINE void run_few_rows(const typename Kernel::Args& g, int64_t panel, int64_t end) {
  for (; panel + kPanels <= end; panel += kPanels) {
    Kernel::template run<kRows, kPanels>(Kernel::tile_at(g, 0, panel));
  }
  if constexpr (kPanels > 1) run_few_rows<Kernel, kRows, kPanels / 2>(g, panel, end);
}

template <class Kernel, int kRows = Kernel::kMaxRows>
HWY_INLINE void run_one_tile_of_rows(const typename Kernel::Args& g, int64_t rows, int64_t panels) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_one_tile_of_rows<Kernel, kRows - 1>(g, rows, panels);
  }
  run_few_rows<Kernel, kRows>(g, 0, panels);
}

// Computes all panels, in tiles of nearly equal height. All tiles use a panel before the next one
// is read, and each prefetches a part of that one.
template <class Kernel>
HWY_INLINE void run_row_block(const typename Kernel::Args& g, int64_t rows) {
  const int64_t panels = g.n / kPanel, columns = g.n % kPanel, lines = Kernel::panel_lines(g);
  const auto for_each_tile = [&](int64_t height, const auto& run) HWY_ATTR {
    const int64_t tiles = (rows + height - 1) / height;
    for (int64_t i = 0; i < tiles; ++i) run(rows * i / tiles, rows * (i + 1) / tiles);
  };
  int64_t panel = 0;
  for (; panel + Kernel::kTilePanels <= panels; panel += Kernel::kTilePanels) {
    const int64_t next = panel + Kernel::kTilePanels;
    for_each_tile(Kernel::kTileRows, [&](int64_t begin, int64_t end) HWY_ATTR {
      typename Kernel::Tile tile = Kernel::tile_at(g, begin, panel);
      if (next + Kernel::kTilePanels <= panels) {
        const int64_t from = lines * begin / rows;
        const auto other = Kernel::tile_at(g, end < rows ? end : 0, end < rows ? panel : next);
        const void* const w = Kernel::tile_at(g, 0, next).w;
        tile.ahead = {other.out.y, static_cast<const char*>(w) + 64 * from,
                      lines * end / rows - from};
      }
      run_rows<Kernel, Kernel::kTilePanels, Kernel::kTileRows>(end - begin, tile);
    });
  }
  for (; panel < panels; ++panel) {
    for_each_tile(Kernel::kMaxRowsOfPanel, [&](int64_t begin, int64_t end) HWY_ATTR {
      run_rows<Kernel, 1>(end - begin, Kernel::tile_at(g, begin, panel));
    });
  }
  if (columns == 0) return;
  for_each_tile(Kernel::kMaxRowsOfPanel, [&](int64_t begin, int64_t end) HWY_ATTR {
    run_edge<Kernel>(end - begin, columns, Kernel::tile_at(g, begin, panel));
  });
}

// Computes a product of m rows, which stay in the L2 cache.
template <class Kernel>
HWY_INLINE void run_product(const typename Kernel::Args& g, int64_t m) {
  if (m > Kernel::kMaxRows) return run_row_block<Kernel>(g, m);
  const int64_t panels = g.n / kPanel, columns = g.n % kPanel;
  run_one_tile_of_rows<Kernel>(g, m, panels);
  if (columns > 0) run_edge<Kernel>(m, columns, Kernel::tile_at(g, 0, panels));
}

HWY_INLINE Outputs outputs_at(const Outputs& all, int64_t row, int64_t panel) {
  const int64_t column = panel * kPanel;
  return Outputs{all.bias != nullptr ? all.bias + column : nullptr, all.accumulate,
                 all.y + row * all.y_stride + column, all.y_stride};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
