// AVX-512 with VNNI, which Highway compiles only on demand.
#define HWY_WANT_AVX3_DL

#include "kernels/gemm_quantized.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_quantized.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/quantized_inl.h"

#ifndef SL_KERNELS_GEMM_QUANTIZED_SHARED
#define SL_KERNELS_GEMM_QUANTIZED_SHARED
namespace sl::kernels::gemm_quantized_detail {

// A product of quantized rows with some groups of all panels, or a sum of products with several
// matrices.
struct Product {
  const void* rows;
  int64_t stride;                    // in groups, between rows
  std::span<const int64_t> offsets;  // in groups, from `rows` to the rows of each matrix
  const uint8_t* packed;
  int64_t pitch;  // bytes from one matrix to the next
  int64_t panel_stride;
  int64_t m;
  int64_t groups;
  int64_t n;
  const float* bias;
  bool accumulate;
  float* y;
  int64_t y_stride;
};

// Groups whose values are all smaller than this become zeros. The inverse of their scale could
// overflow.
inline constexpr float kNegligible = 1e-36f;

}  // namespace sl::kernels::gemm_quantized_detail
#endif  // SL_KERNELS_GEMM_QUANTIZED_SHARED

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using gemm_quantized_detail::Product;

template <int kBits>
struct Kernel {
  struct Args {
    const RowGroup* rows;
    int64_t stride;
    std::span<const int64_t> offsets;
    const uint8_t* packed;
    int64_t pitch;
    int64_t panel_stride;
    int64_t groups;
    int64_t n;
    int64_t rows_count;
    Outputs out;
  };

  struct Tile {
    const RowGroup* rows;
    int64_t stride;
    std::span<const int64_t> offsets;
    const uint8_t* w;
    int64_t pitch;
    int64_t panel_stride;
    int64_t groups;
    bool reads_once;  // each weight, as all rows are in this tile
    Ahead ahead;
    Outputs out;
  };

  static constexpr int kMaxRows = kManyRegisters ? 6 : 4;
  // As many sums as with two panels, so that they wait for each other as little.
  static constexpr int kMaxRowsOfPanel = kManyRegisters ? 12 : 4;
  static constexpr int kMaxPanels = kManyRegisters ? 2 : 1;
  static constexpr int kTileRows = kMaxRows, kTilePanels = kMaxPanels;
  static constexpr int panels_for_rows(int rows) {
    if (rows > 1 || HWY_TARGET == HWY_SCALAR) return kMaxPanels;
    return kManyRegisters ? 4 : HWY_MAX(1, 4 / kVectors);
  }

  static HWY_INLINE Tile tile_at(const Args& g, int64_t row, int64_t panel) {
    return Tile{.rows = g.rows + row * g.stride,
                .stride = g.stride,
                .offsets = g.offsets,
                .w = g.packed + panel * g.panel_stride,
                .pitch = g.pitch,
                .panel_stride = g.panel_stride,
                .groups = g.groups,
                .reads_once = g.rows_count <= kMaxRows,
                .ahead = {},
                .out = outputs_at(g.out, row, panel)};
  }

  static HWY_INLINE int64_t panel_lines(const Args& g) {
    return quantized_panel_bytes(kBits, g.groups) / 64;
  }

  template <int kRows, int kPanels>
  static HWY_NOINLINE void run(const Tile& tile);
};

#if HWY_TARGET == HWY_SCALAR

// Integer i of column j of a group, without what was added to it.
template <int kBits>
HWY_INLINE int32_t weight_at(const uint8_t* w, int i, int j) {
  if constexpr (kBits == 8) return int32_t{w[i / 4 * 64 + 4 * j + i % 4]} - 128;
  const int byte = w[i / 8 * 64 + 4 * j + i % 4];
  return (i % 8 < 4 ? byte & 15 : byte >> 4) - 8;
}

// Adds the products of a group.
template <int kBits, int kRows, int kPanels>
HWY_INLINE void add_group(const RowGroup* x, int64_t stride, const uint8_t* w,
                          const uint8_t* scales, int64_t panel_stride,
                          VF (&total)[kRows][kPanels * kVectors]) {
  static_assert(kLanes == 1 && kPanels == 1);
  (void)panel_stride;
  for (int r = 0; r < kRows; ++r) {
    const RowGroup& row = x[r * stride];
    for (int j = 0; j < kPanel; ++j) {
      int32_t sum = 0;
      for (int i = 0; i < kGroup; ++i) sum += weight_at<kBits>(w, i, j) * row.q[i];
      const VF product =
          hn::Mul(hn::Set(DF(), static_cast<float>(sum)), load_scales(scales + 2 * j));
      total[r][j] = hn::MulAdd(product, hn::Set(DF(), row.scale), total[r][j]);
    }
  }
}

#else

// Multiplies the four or eight rows of weights in a vector with those values of each row of x.
template <int kBits, int kRows, int kWidth>
HWY_INLINE void add_vector(const RowGroup* x, int64_t stride, int i, const VI (&bytes)[kWidth],
                           VI (&sum)[kRows][kWidth]) {
  Quad w[8 / kBits][kWidth];
#pragma GCC unroll 16
  for (int v = 0; v < kWidth; ++v) {
    if constexpr (kBits == 8) {
      w[0][v] = weight_quad(bytes[v]);
    } else {
      w[0][v] = nibble_quad<0>(bytes[v]);
      w[1][v] = nibble_quad<1>(bytes[v]);
    }
  }
#pragma GCC unroll 16
  for (int half = 0; half < 8 / kBits; ++half) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Quad quad = row_quad(x[r * stride], i * (8 / kBits) + half);
#pragma GCC unroll 16
      for (int v = 0; v < kWidth; ++v) sum[r][v] = add_products(sum[r][v], w[half][v], quad);
    }
  }
}

// Adds the products of a group.
template <int kBits, int kRows, int kPanels>
HWY_INLINE void add_group(const RowGroup* x, int64_t stride, const uint8_t* w,
                          const uint8_t* scales, int64_t panel_stride,
                          VF (&total)[kRows][kPanels * kVectors]) {
  constexpr int kWidth = kPanels * kVectors;
  const auto offset = [&](int v) HWY_ATTR {
    return (v / kVectors) * panel_stride + (v % kVectors) * kLanes * 4;
  };
  VI sum[kRows][kWidth];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    // Integers have 128 (int8) or 8 (int4) added.
    const VI start = hn::Set(DI(), x[r * stride].offset);
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) sum[r][v] = kBits == 8 ? start : hn::ShiftRight<4>(start);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kBits; ++i) {
    VI bytes[kWidth];
#pragma GCC unroll 16
    for (int v = 0; v < kWidth; ++v) {
      bytes[v] = hn::LoadU(DI(), reinterpret_cast<const int32_t*>(w + i * 64 + offset(v)));
    }
    add_vector<kBits, kRows, kWidth>(x, stride, i, bytes, sum);
  }
#pragma GCC unroll 16
  for (int v = 0; v < kWidth; ++v) {
    const VF scale =
        load_scales(scales + (v / kVectors) * panel_stride + (v % kVectors) * kLanes * 2);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const VF product = hn::Mul(hn::ConvertTo(DF(), sum[r][v]), scale);
      total[r][v] = hn::MulAdd(product, hn::Set(DF(), x[r * stride].scale), total[r][v]);
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

// Prefetches what a tile that reads its weights once needs later than the `bytes` at `at`, which
// lie in the first of kPanels panels. `gap` is from the end of a panel to the one read after it.
template <int kPanels>
HWY_INLINE void prefetch_weights(const uint8_t* at, const uint8_t* panel, int64_t panel_bytes,
                                 int64_t gap, int64_t bytes) {
  const uint8_t* const ahead = at + prefetch_distance(at - panel, panel_bytes, gap);
#pragma GCC unroll 16
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 16
    for (int64_t j = 0; j < bytes; j += kLinePair) prefetch_into_l2(ahead + i * panel_bytes + j);
  }
}

template <int kBits>
template <int kRows, int kPanels>
HWY_NOINLINE void Kernel<kBits>::run(const Tile& tile) {
  constexpr int64_t kGroupBytes = quantized_integer_bytes(kBits);
  constexpr int64_t kPairBytes = kQuantizedScaleBytes + 2 * kGroupBytes;
  const Tile t = tile;
  VF total[kRows][kPanels * kVectors];
  load_outputs(t.out, total);
  prefetch_outputs<kRows, kPanels>(t.ahead, t.out.y_stride);
  const uint8_t* panel = t.w;
  Ahead next = t.ahead;
  const auto matrices = static_cast<int64_t>(t.offsets.size());
  for (int64_t matrix = 0; matrix < matrices; ++matrix) {
    // From the end of a panel to the panel that is read next.
    const int64_t gap = matrix + 1 < matrices ? t.pitch - t.panel_stride
                                              : (kPanels - 1) * t.panel_stride - matrix * t.pitch;
    const RowGroup* HWY_RESTRICT x = t.rows + t.offsets[static_cast<size_t>(matrix)];
    const uint8_t* HWY_RESTRICT w = panel;
    int64_t line = 0;
    for (int64_t group = 0; group < t.groups; ++group, ++x) {
      const int64_t odd = group % 2;
      prefetch_step<kPanels>(next, t.panel_stride, group, t.groups, line);
      if (kRows == 1 || t.reads_once) {
        const int64_t bytes = kGroupBytes + odd * kQuantizedScaleBytes;
        prefetch_weights<kPanels>(w + odd * kGroupBytes, panel, t.panel_stride, gap, bytes);
      }
      add_group<kBits, kRows, kPanels>(x, t.stride, w + kQuantizedScaleBytes + odd * kGroupBytes,
                                       w + odd * (kQuantizedScaleBytes / 2), t.panel_stride, total);
      w += odd * kPairBytes;
    }
    panel += t.pitch;
    if (next.lines > 0) next.w += t.pitch;
  }
  store_outputs(t.out, total);
}

template <int kBits>
HWY_INLINE void run_quantized(const Product& g) {
  using K = Kernel<kBits>;
  run_product<K>(typename K::Args{static_cast<const RowGroup*>(g.rows), g.stride, g.offsets,
                                  g.packed, g.pitch, g.panel_stride, g.groups, g.n, g.m,
                                  Outputs{g.bias, g.accumulate, g.y, g.y_stride}},
                 g.m);
}

// Writes a group's integers, a vector of them at a time.
HWY_INLINE void store_integers(const VI* rounded, RowGroup* out) {
#if SL_QUANTIZED_BYTES
  const hn::Rebind<int8_t, DI> d8;
  for (int i = 0; i < kGroup; i += kLanes) {
    hn::StoreU(hn::DemoteTo(d8, rounded[i / kLanes]), d8, out->q + i);
  }
#else
  HWY_ALIGN int32_t q[kGroup];
  for (int i = 0; i < kGroup; i += kLanes) hn::Store(rounded[i / kLanes], DI(), q + i);
  for (int i = 0; i < kGroup; i += 4) {
    out->q[i] = static_cast<int16_t>(q[i]);
    out->q[i + 1] = static_cast<int16_t>(q[i + 2]);
    out->q[i + 2] = static_cast<int16_t>(q[i + 1]);
    out->q[i + 3] = static_cast<int16_t>(q[i + 3]);
  }
#endif
}

HWY_INLINE void quantize_group(const float* from, RowGroup* out) {
  constexpr int kParts = kGroup / kLanes;
  VF x[kParts];
  VI rounded[kParts];
  VI largest = hn::Zero(DI());
  for (int i = 0; i < kParts; ++i) {
    x[i] = hn::LoadU(DF(), from + i * kLanes);
    // Magnitudes compare like their bits, NaN being the largest.
    largest = hn::Max(largest, hn::BitCast(DI(), hn::Abs(x[i])));
  }
  const float magnitude = hn::GetLane(hn::BitCast(DF(), hn::MaxOfLanes(DI(), largest)));
  if (!(magnitude <= std::numeric_limits<float>::max()) ||
      magnitude < gemm_quantized_detail::kNegligible) {
    *out = RowGroup{};
    if (!(magnitude < gemm_quantized_detail::kNegligible)) {
      out->scale = std::numeric_limits<float>::quiet_NaN();
    }
    return;
  }
  out->scale = magnitude / 127.0f;
  const VF inverse = hn::Set(DF(), 127.0f / magnitude);
  VI sum = hn::Zero(DI());
  for (int i = 0; i < kParts; ++i) {
    rounded[i] = hn::NearestInt(hn::Mul(x[i], inverse));
    sum = hn::Add(sum, rounded[i]);
  }
  out->offset = -128 * hn::GetLane(hn::SumOfLanes(DI(), sum));
  store_integers(rounded, out);
}

#if HWY_TARGET == HWY_AVX3_DL

constexpr int kGroupsAtOnce = 4;

// Maxima of the lanes of four vectors, in each quarter of the result.
HWY_INLINE __m512i largest_of(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_max_epu32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_max_epu32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  __m512i all = _mm512_max_epu32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  all = _mm512_max_epu32(all, _mm512_shuffle_i64x2(all, all, 0x4E));
  return _mm512_max_epu32(all, _mm512_shuffle_i64x2(all, all, 0xB1));
}

// Quantizes groups as quantize_group() does. False if a value is too small, too large or none.
HWY_INLINE bool quantize_groups(const float* from, RowGroup* out) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  __m512 x[2 * kGroupsAtOnce];
  __m512i largest[kGroupsAtOnce];
#pragma GCC unroll 8
  for (int i = 0; i < kGroupsAtOnce; ++i) {
    x[2 * i] = _mm512_loadu_ps(from + i * kGroup);
    x[2 * i + 1] = _mm512_loadu_ps(from + i * kGroup + 16);
    largest[i] = _mm512_max_epu32(_mm512_and_epi32(_mm512_castps_si512(x[2 * i]), magnitude),
                                  _mm512_and_epi32(_mm512_castps_si512(x[2 * i + 1]), magnitude));
  }
  const __m512 all =
      _mm512_castsi512_ps(largest_of(largest[0], largest[1], largest[2], largest[3]));
  const __mmask16 usual =
      _mm512_cmp_ps_mask(all, _mm512_set1_ps(std::numeric_limits<float>::max()), _CMP_LE_OQ) &
      _mm512_cmp_ps_mask(all, _mm512_set1_ps(gemm_quantized_detail::kNegligible), _CMP_GE_OQ);
  if (usual != 0xFFFF) return false;
  const __m128 maxima = _mm512_castps512_ps128(all);
  const __m128 top = _mm_set1_ps(127.0f);
  const __m512 inverse = _mm512_broadcast_f32x4(_mm_div_ps(top, maxima));
  HWY_ALIGN float scales[kGroupsAtOnce];
  _mm_store_ps(scales, _mm_div_ps(maxima, top));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto rounded = [&](int i, __m512 factor)
                           HWY_ATTR { return _mm512_cvtps_epi32(_mm512_mul_ps(x[i], factor)); };
  // Two groups become a vector of bytes.
  const auto pair = [&](int i, __m512 first, __m512 second) HWY_ATTR {
    const __m512i a = _mm512_packs_epi32(rounded(4 * i, first), rounded(4 * i + 1, first));
    const __m512i b = _mm512_packs_epi32(rounded(4 * i + 2, second), rounded(4 * i + 3, second));
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(a, b));
  };
  const __m512i q[2] = {
      pair(0, _mm512_permute_ps(inverse, 0x00), _mm512_permute_ps(inverse, 0x55)),
      pair(1, _mm512_permute_ps(inverse, 0xAA), _mm512_permute_ps(inverse, 0xFF))};
#pragma GCC unroll 8
  for (int i = 0; i < 2; ++i) {
    // Sums of bytes with 128 added, eight at a time.
    const __m512i sums =
        _mm512_sad_epu8(_mm512_xor_si512(q[i], _mm512_set1_epi8(-128)), _mm512_setzero_si512());
    const __m512i halves = _mm512_add_epi64(sums, _mm512_unpackhi_epi64(sums, sums));
    const __m512i wholes = _mm512_add_epi64(halves, _mm512_shuffle_i64x2(halves, halves, 0xB1));
    const int first = _mm_cvtsi128_si32(_mm512_castsi512_si128(wholes));
    const int second = _mm_cvtsi128_si32(_mm512_extracti32x4_epi32(wholes, 2));
    RowGroup* const to = out + 2 * i;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[0].q), _mm512_castsi512_si256(q[i]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[1].q), _mm512_extracti64x4_epi64(q[i], 1));
    to[0].scale = scales[2 * i];
    to[1].scale = scales[2 * i + 1];
    to[0].offset = -128 * (first - 128 * kGroup);
    to[1].offset = -128 * (second - 128 * kGroup);
  }
  return true;
}

#else

constexpr int kGroupsAtOnce = 1;

HWY_INLINE bool quantize_groups(const float* from, RowGroup* out) {
  quantize_group(from, out);
  return true;
}

#endif

// Quantizes `count` values, fewer than a group. The rest of it becomes zeros.
HWY_INLINE void quantize_rest(const float* from, int64_t count, RowGroup* out) {
  float x[kGroup] = {};
  std::copy_n(from, count, x);
  quantize_group(x, out);
}

}  // namespace

int64_t group_bytes_all() { return sizeof(RowGroup); }

void quantize_rows_all(const float* x, int64_t x_stride, int64_t m, int64_t k, void* rows) {
  auto* out = static_cast<RowGroup*>(rows);
  for (int64_t row = 0; row < m; ++row, x += x_stride) {
    int64_t p = 0;
    for (; p + kGroupsAtOnce * kGroup <= k; p += kGroupsAtOnce * kGroup, out += kGroupsAtOnce) {
      if (quantize_groups(x + p, out)) continue;
      for (int i = 0; i < kGroupsAtOnce; ++i) quantize_group(x + p + i * kGroup, out + i);
    }
    for (; p + kGroup <= k; p += kGroup) quantize_group(x + p, out++);
    if (p < k) quantize_rest(x + p, k - p, out++);
  }
}

void gemm_int8_all(const Product& g) { run_quantized<8>(g); }
void gemm_int4_all(const Product& g) { run_quantized<4>(g); }

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(group_bytes_all);
HWY_EXPORT(quantize_rows_all);
HWY_EXPORT(gemm_int8_all);
HWY_EXPORT(gemm_int4_all);

namespace {

using gemm_quantized_detail::Product;

// Rows that are quantized together: weights are read once for each block of rows. The fewer they
// are, the more groups fit on the stack: each tile takes 200 cycles beside the 125 for a group
// (VNNI). 24 rows by 32 groups have 1.04 times the rate of 24 by 16 or of 48 by 16.
constexpr int64_t kRowBlock = 24;
// The rows of a product with one matrix.
constexpr int64_t kFromFirst[] = {0};
// Rows that are quantized already.
constexpr int64_t kReadyRowBlock = 48;

// Bytes of quantized rows on the stack, of which a run must need little: with VNNI 24 rows by 32
// groups. They hold a row of 13,600 values or more; longer ones and blocks of rows are quantized in
// blocks of groups.
constexpr int64_t kScratchBytes = 30720;

void multiply(Quantized type, const Product& product) {
  if (type == Quantized::kInt8) {
    HWY_DYNAMIC_DISPATCH(gemm_int8_all)(product);
  } else {
    HWY_DYNAMIC_DISPATCH(gemm_int4_all)(product);
  }
}

}  // namespace

int64_t quantized_group_bytes() { return HWY_DYNAMIC_DISPATCH(group_bytes_all)(); }

void gemm_quantized(Quantized type, const float* x, int64_t x_stride, const void* packed, int64_t m,
                    int64_t k, int64_t n, const float* bias, bool accumulate, float* y,
                    int64_t y_stride) {
  if (m <= 0 || n <= 0) return;
  alignas(64) std::byte scratch[kScratchBytes];
  const int64_t groups = quantized_groups(k), group_bytes = quantized_group_bytes();
  // Groups of overlapping windows may be those of their frames, each of which is quantized once.
  const bool shared = x_stride > 0 && x_stride < k && (x_stride | k) % kQuantizedGroup == 0;
  Product g{.rows = scratch,
            .stride = 0,
            .offsets = kFromFirst,
            .packed = nullptr,
            .pitch = 0,
            .panel_stride = quantized_panel_bytes(bits_of(type), groups),
            .m = 0,
            .groups = 0,
            .n = n,
            .bias = bias,
            .accumulate = false,
            .y = nullptr,
            .y_stride = y_stride};
  for (int64_t row = 0; row < m; row += kRowBlock) {
    g.m = std::min(kRowBlock, m - row);
    g.y = y + row * y_stride;
    // An even number, since two groups have their scales in common.
    const int64_t room = kScratchBytes / (g.m * group_bytes) / 2 * 2;
    int64_t begin = 0;
    do {  // runs also if k is 0, since y gets the bias
      g.groups = std::min(room, groups - begin);
      const float* from = x + row * x_stride + begin * kQuantizedGroup;
      const int64_t count = std::min(g.groups * kQuantizedGroup, k - begin * kQuantizedGroup);
      g.stride = shared ? std::min(g.groups, x_stride / kQuantizedGroup) : g.groups;
      if (g.stride < g.groups) {
        HWY_DYNAMIC_DISPATCH(quantize_rows_all)(from, 0, 1, (g.m - 1) * x_stride + count, scratch);
      } else {
        HWY_DYNAMIC_DISPATCH(quantize_rows_all)(from, x_stride, g.m, count, scratch);
      }
      g.packed = static_cast<const uint8_t*>(packed) +
                 quantized_panel_bytes(bits_of(type), begin);  // begin is even
      g.accumulate = accumulate || begin > 0;
      multiply(type, g);
      begin += g.groups;
    } while (begin < groups);
  }
}

void quantize_row(const float* x, int64_t k, void* row) {
  HWY_DYNAMIC_DISPATCH(quantize_rows_all)(x, k, 1, k, row);
}

void gemm_quantized_rows(Quantized type, const void* rows, int64_t stride,
                         std::span<const int64_t> offsets, const void* packed, int64_t pitch,
                         int64_t m, int64_t k, int64_t n, const float* bias, bool accumulate,
                         float* y, int64_t y_stride) {
  const int64_t groups = quantized_groups(k), group_bytes = quantized_group_bytes();
  for (int64_t row = 0; row < m; row += kReadyRowBlock) {
    multiply(type, {.rows = static_cast<const std::byte*>(rows) + row * stride * group_bytes,
                    .stride = stride,
                    .offsets = offsets,
                    .packed = static_cast<const uint8_t*>(packed),
                    .pitch = pitch,
                    .panel_stride = quantized_panel_bytes(bits_of(type), groups),
                    .m = std::min(kReadyRowBlock, m - row),
                    .groups = groups,
                    .n = n,
                    .bias = bias,
                    .accumulate = accumulate,
                    .y = y + row * y_stride,
                    .y_stride = y_stride});
  }
}

}  // namespace sl::kernels
#endif  // HWY_ONCE
