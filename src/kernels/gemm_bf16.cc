#include "kernels/gemm_bf16.h"

#include <algorithm>

#include "kernels/convert.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_bf16.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/panel_inl.h"

#ifndef SL_KERNELS_GEMM_BF16_SHARED
#define SL_KERNELS_GEMM_BF16_SHARED
namespace sl::kernels::gemm_bf16_detail {

struct Product {
  const float* x;
  int64_t x_stride;
  const uint16_t* packed;
  int64_t m;
  int64_t k;
  int64_t n;
  const float* bias;
  bool accumulate;
  float* y;
  int64_t y_stride;
};

// Values of a panel: k is padded to an even number.
constexpr int64_t panel_size(int64_t k) { return (k + 1) / 2 * 2 * kPanelColumns; }

}  // namespace sl::kernels::gemm_bf16_detail
#endif  // SL_KERNELS_GEMM_BF16_SHARED

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using gemm_bf16_detail::Product;

// Rows of x per row block, and rows of W per depth block, an even number. That part of a tile's
// panels and of its rows of x stays in the L1 cache, and that of a row block in the L2 cache.
constexpr int64_t kRowBlock = 96;
constexpr int64_t kDepthBlock = 256;

struct Kernel {
  struct Args {
    const float* x;
    int64_t x_stride;
    const uint16_t* packed;
    int64_t panel_stride;
    int64_t k;  // of the depth block
    int64_t n;
    Outputs out;
  };

  struct Tile {
    const float* x;
    int64_t x_stride;
    const uint16_t* w;
    int64_t panel_stride;
    int64_t k;
    Ahead ahead;
    Outputs out;
  };

  static constexpr int kMaxRows = kManyRegisters ? 12 : HWY_MAX(1, 12 / kVectors);
  static constexpr int kMaxRowsOfPanel = kMaxRows;
  static constexpr int kMaxPanels = kManyRegisters ? 2 : 1;
  // Tiles of many rows are flat: rows of x and of y often lie at the same sets of the L1 cache.
  static constexpr int kTileRows = kManyRegisters ? 6 : kMaxRows;
  static constexpr int kTilePanels = kManyRegisters ? 4 : kMaxPanels;

  static constexpr int panels_for_rows(int rows) {
    if (!kManyRegisters) return rows == 1 ? HWY_MAX(1, 8 / kVectors) : kMaxPanels;
    return rows == 1 ? 8 : kMaxPanels;
  }

  static HWY_INLINE Tile tile_at(const Args& g, int64_t row, int64_t panel) {
    return Tile{.x = g.x + row * g.x_stride,
                .x_stride = g.x_stride,
                .w = g.packed + panel * g.panel_stride,
                .panel_stride = g.panel_stride,
                .k = g.k,
                .ahead = {},
                .out = outputs_at(g.out, row, panel)};
  }

  static HWY_INLINE int64_t panel_lines(const Args& g) { return (g.k + 1) / 2; }

  template <int kRows, int kPanels>
  static HWY_NOINLINE void run(const Tile& tile);
};

// The values of the first (even) or second (odd) row of a pair, whose values share 32-bit lanes.
template <int kOdd>
HWY_INLINE VF widen(const uint16_t* pairs) {
  const VU both = hn::LoadU(DU(), reinterpret_cast<const uint32_t*>(pairs));
  return hn::BitCast(DF(),
                     kOdd ? hn::And(both, hn::Set(DU(), 0xFFFF0000u)) : hn::ShiftLeft<16>(both));
}

// Adds the products of a row of a pair. x points to the value of the first row of x for it.
template <int kOdd, int kRows, int kPanels>
HWY_INLINE void add_row(const Kernel::Tile& t, const uint16_t* w, const float* x,
                        VF (&total)[kRows][kPanels * kVectors]) {
  VF b[kPanels * kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kPanels * kVectors; ++v) {
    b[v] = widen<kOdd>(w + (v / kVectors) * t.panel_stride + (v % kVectors) * kLanes * 2);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const VF a = hn::Set(DF(), x[r * t.x_stride]);
#pragma GCC unroll 16
    for (int v = 0; v < kPanels * kVectors; ++v) total[r][v] = hn::MulAdd(a, b[v], total[r][v]);
  }
}

template <int kRows, int kPanels>
HWY_NOINLINE void Kernel::run(const Tile& tile) {
  const Tile t = tile;
  VF total[kRows][kPanels * kVectors];
  load_outputs(t.out, total);
  const float* HWY_RESTRICT x = t.x;
  const uint16_t* HWY_RESTRICT w = t.w;
  const int64_t panel_bytes = t.panel_stride * static_cast<int64_t>(sizeof(*w));
  if constexpr (kRows > 1) prefetch_outputs<kRows, kPanels>(t.ahead, t.out.y_stride);
  int64_t p = 0, line = 0;
  for (; p + 2 <= t.k; p += 2, x += 2, w += 2 * kPanel) {
    if constexpr (kRows > 1) {
      prefetch_step<kPanels>(t.ahead, panel_bytes, p, t.k, line);
    } else {
      const int64_t position = (w - t.w) * static_cast<int64_t>(sizeof(*w));
      const char* const ahead =
          reinterpret_cast<const char*>(w) +
          prefetch_distance(position, panel_bytes, (kPanels - 1) * panel_bytes);
#pragma GCC unroll 16
      for (int i = 0; i < kPanels; ++i) prefetch_into_l2(ahead + i * panel_bytes);
    }
    add_row<0, kRows, kPanels>(t, w, x, total);
    add_row<1, kRows, kPanels>(t, w, x + 1, total);
  }
  if (p < t.k) add_row<0, kRows, kPanels>(t, w, x, total);
  store_outputs(t.out, total);
}

}  // namespace

void gemm_bf16_all(const Product& g) {
  const int64_t depth = g.m <= Kernel::kMaxRows ? g.k : kDepthBlock;
  for (int64_t row = 0; row < g.m; row += kRowBlock) {
    const float* const x = g.x + row * g.x_stride;
    float* const y = g.y + row * g.y_stride;
    int64_t begin = 0;
    do {  // runs also if k is 0, since y gets the bias
      const Outputs out{g.bias, g.accumulate || begin > 0, y, g.y_stride};
      run_product<Kernel>(
          Kernel::Args{x + begin, g.x_stride, g.packed + begin * kPanel,
                       gemm_bf16_detail::panel_size(g.k), HWY_MIN(depth, g.k - begin), g.n, out},
          HWY_MIN(kRowBlock, g.m - row));
      begin += depth;
    } while (begin < g.k);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(gemm_bf16_all);

int64_t packed_bf16_bytes(int64_t k, int64_t n) {
  return panels_of(n) * gemm_bf16_detail::panel_size(k) * static_cast<int64_t>(sizeof(uint16_t));
}

void pack_bf16(const float* w, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n,
               void* packed) {
  auto* out = static_cast<uint16_t*>(packed);
  for (int64_t column = 0; column < n; column += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, n - column);
    for (int64_t p = 0; p < k; p += 2, out += 2 * kPanelColumns) {
      float pairs[2 * kPanelColumns] = {};
      for (int64_t odd = 0; odd < std::min<int64_t>(2, k - p); ++odd) {
        const float* row = w + (p + odd) * row_stride + column * col_stride;
        for (int64_t j = 0; j < columns; ++j) pairs[2 * j + odd] = row[j * col_stride];
      }
      f32_to_bf16(pairs, out, 2 * kPanelColumns);
    }
  }
}

void unpack_bf16_column(const void* packed, int64_t k, int64_t column, float* y) {
  const uint16_t* panel = static_cast<const uint16_t*>(packed) +
                          column / kPanelColumns * gemm_bf16_detail::panel_size(k) +
                          2 * (column % kPanelColumns);
  for (int64_t p = 0; p < k; ++p) {
    const uint32_t bits = uint32_t{panel[p / 2 * 2 * kPanelColumns + p % 2]} << 16;
    std::copy_n(reinterpret_cast<const char*>(&bits), sizeof(bits), reinterpret_cast<char*>(y + p));
  }
}

void gemm_bf16(const float* x, int64_t x_stride, const void* packed, int64_t m, int64_t k,
               int64_t n, const float* bias, bool accumulate, float* y, int64_t y_stride) {
  if (m <= 0 || n <= 0) return;
  HWY_DYNAMIC_DISPATCH(gemm_bf16_all)
  (gemm_bf16_detail::Product{x, x_stride, static_cast<const uint16_t*>(packed), m, k, n, bias,
                             accumulate, y, y_stride});
}

}  // namespace sl::kernels
#endif  // HWY_ONCE
