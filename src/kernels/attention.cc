#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/prefetch.h"
#include "kernels/simd_math_inl.h"
#include "kernels/simd_registers_inl.h"

#ifndef SL_KERNELS_ATTENTION_SHARED
#define SL_KERNELS_ATTENTION_SHARED
namespace sl::kernels {

// The case of online_softmax in which the maximum is -inf: no score is valid, or valid ones are
// -inf or NaN. A valid NaN makes the total NaN.
inline float nothing_to_weigh(float* s, const uint8_t* valid, int64_t n, float* total) {
  for (int64_t j = 0; j < n; ++j) {
    if ((!valid || valid[j]) && std::isnan(s[j])) *total = s[j];
    s[j] = 0.0f;
  }
  return 1.0f;
}

}  // namespace sl::kernels
#endif  // SL_KERNELS_ATTENTION_SHARED

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

using D = hn::CappedTag<float, kHeadAlign>;
using V = hn::Vec<D>;

constexpr int kLanes = HWY_MIN(HWY_LANES(float), static_cast<int>(kHeadAlign));
constexpr int kVectors = static_cast<int>(kHeadAlign) / kLanes;  // per kHeadAlign
constexpr int kAccumulators = kManyRegisters ? 24 : 12;

// Scores are computed in tiles of queries by keys; each score is a vector of partial sums.
constexpr int kScoreRows = kAccumulators / 4;
constexpr int kScoreKeys = 4;
constexpr int kScoreKeysOfOne = 8;  // for one query

#if HWY_TARGET == HWY_SCALAR

HWY_INLINE void store_sums(V a, V b, V c, V e, float* sums) {
  const V all[4] = {a, b, c, e};
  for (int i = 0; i < 4; ++i) sums[i] = hn::GetLane(all[i]);
}

HWY_INLINE VF valid_scores(VF s, const uint8_t* valid) { return *valid ? s : constant(-HUGE_VALF); }

#else

// Adds the upper half of a vector to the lower one until 128 bits are left.
template <int kCount>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4> > fold(hn::Vec<hn::CappedTag<float, kCount> > v) {
  if constexpr (kCount == 4) {
    return v;
  } else {
    const hn::CappedTag<float, kCount / 2> half;
    return fold<kCount / 2>(hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// Stores the sum of the lanes of each of four vectors.
HWY_INLINE void store_sums(V a, V b, V c, V e, float* sums) {
  const D d;
  const hn::Repartition<uint64_t, D> pairs;
  const V ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const V ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto low = hn::InterleaveLower(pairs, hn::BitCast(pairs, ab), hn::BitCast(pairs, ce));
  const auto high = hn::InterleaveUpper(pairs, hn::BitCast(pairs, ab), hn::BitCast(pairs, ce));
  const V total = hn::Add(hn::BitCast(d, low), hn::BitCast(d, high));
  hn::StoreU(fold<kLanes>(total), hn::FixedTag<float, 4>(), sums);
}

// Replaces scores that are not valid by -inf.
HWY_INLINE VF valid_scores(VF s, const uint8_t* valid) {
  const DI di;
  const hn::Rebind<uint8_t, DI> bytes;
  const VI lanes = hn::PromoteTo(di, hn::LoadU(bytes, valid));
  const auto is_valid = hn::RebindMask(DF(), hn::Ne(lanes, hn::Zero(di)));
  return hn::IfThenElse(is_valid, s, constant(-HUGE_VALF));
}

#endif

// Rows that are needed next, to be prefetched row by row. Memory delivers several streams at once
// faster than one after the other: the rows are prefetched in kStreams parts that take turns. Some
// processors ignore prefetches while too many wait for memory, so that each row is prefetched again
// shortly before it is read, as number i by soon().
struct NextRows {
  static constexpr int64_t kStreams = 4;
  static constexpr int64_t kSoon = 8;

  const float* data;
  int64_t stride;
  int64_t part;  // floats from one part to the next

  // As many rows as there are in `now`; those of `now` itself if there are no others.
  NextRows(const float* next, const Rows& now)
      : data(next != nullptr ? next : now.data),
        stride(now.stride),
        part((now.count + kStreams - 1) / kStreams * now.stride) {}
  // The row that is prefetched as number i.
  const float* row(int64_t i) const { return data + i % kStreams * part + i / kStreams * stride; }
  // The row that is read kSoon rows after row i of `now`.
  const float* soon(const Rows& now, int64_t i) const {
    const int64_t left = now.count - kSoon - i;
    return left > 0 ? now.data + (i + kSoon) * stride : data - left * stride;
  }
};

// Stores the sums of kKeys vectors, or of the first `keys` of them if those are fewer.
template <int kKeys>
HWY_INLINE void store_scores(const V (&acc)[kKeys], int64_t keys, float* s) {
  HWY_ALIGN float sums[kKeys];
#pragma GCC unroll 16
  for (int j = 0; j < kKeys; j += 4) {
    store_sums(acc[j], acc[j + 1], acc[j + 2], acc[j + 3], sums + j);
  }
  if (keys >= kKeys) {
    std::copy_n(sums, kKeys, s);
  } else {
    std::copy_n(sums, keys, s);
  }
}

// Scores of one query with the keys from `first` on. Reads them row by row, as they lie in memory,
// which is what it waits for.
HWY_NOINLINE void score_one(const float* HWY_RESTRICT q, const Rows& k, int64_t first,
                            int64_t width, float* s, const NextRows& next) {
  const D d;
  const int64_t keys = k.count - first;
  V acc[kScoreKeysOfOne];
#pragma GCC unroll 16
  for (int j = 0; j < kScoreKeysOfOne; ++j) {
    acc[j] = hn::Zero(d);
    // A partial tile reads its last key several times, so that no read passes the end of k.
    const int64_t row = first + HWY_MIN(j, keys - 1);
    const float* HWY_RESTRICT key = k.data + row * k.stride;
    const float *later = next.row(row), *soon = next.soon(k, row);
    for (int64_t p = 0; p < width; p += kLanes) {
      prefetch_into_l2(later + p);
      prefetch_into_l2(soon + p);
      acc[j] = hn::MulAdd(hn::LoadU(d, q + p), hn::LoadU(d, key + p), acc[j]);
    }
  }
  store_scores(acc, keys, s);
}

// Scores of kRows queries and kKeys keys. If `keys` is smaller than kKeys, only the first `keys` of
// each row are stored.
template <int kRows, int kKeys>
HWY_NOINLINE void score_tile(const float* HWY_RESTRICT q, int64_t q_stride,
                             const float* HWY_RESTRICT k, int64_t k_stride, int64_t keys,
                             int64_t width, float* s, int64_t s_stride) {
  const D d;
  V acc[kRows][kKeys];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int j = 0; j < kKeys; ++j) acc[r][j] = hn::Zero(d);
  }
  // A partial tile reads its last key several times, so that no read passes the end of k.
  const float* key[kKeys];
  for (int j = 0; j < kKeys; ++j) key[j] = k + HWY_MIN(j, keys - 1) * k_stride;
  for (int64_t p = 0; p < width; p += kLanes) {
    V b[kKeys];
#pragma GCC unroll 16
    for (int j = 0; j < kKeys; ++j) b[j] = hn::LoadU(d, key[j] + p);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V a = hn::LoadU(d, q + r * q_stride + p);
#pragma GCC unroll 16
      for (int j = 0; j < kKeys; ++j) acc[r][j] = hn::MulAdd(a, b[j], acc[r][j]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) store_scores(acc[r], keys, s + r * s_stride);
}

template <int kRows>
HWY_INLINE void score_rows(int64_t rows, const float* q, int64_t q_stride, const Rows& k,
                           int64_t width, float* s, int64_t s_stride, const NextRows& next) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return score_rows<kRows - 1>(rows, q, q_stride, k, width, s, s_stride, next);
  }
  if constexpr (kRows == 1) {
    for (int64_t j = 0; j < k.count; j += kScoreKeysOfOne) score_one(q, k, j, width, s + j, next);
  } else {
    for (int64_t j = 0; j < k.count; j += kScoreKeys) {
      score_tile<kRows, kScoreKeys>(q, q_stride, k.data + j * k.stride, k.stride, k.count - j,
                                    width, s + j, s_stride);
    }
  }
}

// Outputs are computed in tiles of rows by kHeadAlign columns, held in registers while all keys are
// added.
constexpr int kValueRows = HWY_MAX(1, kAccumulators / kVectors / (kManyRegisters ? 2 : 1));
constexpr int panels_for_rows(int rows) {
  int panels = 4;
  while (panels > 1 && rows * panels * kVectors > kAccumulators) panels /= 2;
  return panels;
}

template <int kRows, int kPanels>
HWY_NOINLINE void value_tile(const float* HWY_RESTRICT p, int64_t p_stride, const float* scale,
                             const Rows& values, int64_t column, float* o, int64_t o_stride,
                             [[maybe_unused]] const NextRows& next) {
  const D d;
  constexpr int kWidth = kPanels * kVectors;
  V acc[kRows][kWidth];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const V factor = hn::Set(d, scale[r]);
#pragma GCC unroll 16
    for (int w = 0; w < kWidth; ++w) {
      acc[r][w] = hn::Mul(factor, hn::LoadU(d, o + r * o_stride + w * kLanes));
    }
  }
  const float* HWY_RESTRICT v = values.data + column;
  for (int64_t j = 0; j < values.count; ++j, v += values.stride) {
    if constexpr (kRows == 1) {
      const float *later = next.row(j) + column, *soon = next.soon(values, j) + column;
#pragma GCC unroll 16
      for (int w = 0; w < kPanels; ++w) {
        prefetch_into_l2(later + w * kHeadAlign);
        prefetch_into_l2(soon + w * kHeadAlign);
      }
    }
    V b[kWidth];
#pragma GCC unroll 16
    for (int w = 0; w < kWidth; ++w) b[w] = hn::LoadU(d, v + w * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V a = hn::Set(d, p[r * p_stride + j]);
#pragma GCC unroll 16
      for (int w = 0; w < kWidth; ++w) acc[r][w] = hn::MulAdd(a, b[w], acc[r][w]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int w = 0; w < kWidth; ++w) hn::StoreU(acc[r][w], d, o + r * o_stride + w * kLanes);
  }
}

template <int kRows>
HWY_INLINE void value_rows(int64_t rows, const float* p, int64_t p_stride, const float* scale,
                           const Rows& v, int64_t width, float* o, int64_t o_stride,
                           const NextRows& next) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      return value_rows<kRows - 1>(rows, p, p_stride, scale, v, width, o, o_stride, next);
    }
  }
  constexpr int kPanels = panels_for_rows(kRows);
  constexpr int64_t kColumns = kPanels * kHeadAlign;
  int64_t c = 0;
  for (; c + kColumns <= width; c += kColumns) {
    value_tile<kRows, kPanels>(p, p_stride, scale, v, c, o + c, o_stride, next);
  }
  for (; c < width; c += kHeadAlign) {
    value_tile<kRows, 1>(p, p_stride, scale, v, c, o + c, o_stride, next);
  }
}

// exp(x) for x <= 0, with 0 in place of results below the smallest normal number.
HWY_INLINE VF exp_or_zero(VF x) {
  const VF lowest = constant(-87.0f);
  const auto vanishes = hn::Lt(x, lowest);  // false for NaN
  const Reduced e = reduce_exp(hn::IfThenElse(vanishes, lowest, x));
  const VF y = hn::Mul(hn::Add(constant(1.0f), expm1_reduced(e.r)), power_of_two(e.n));
  return hn::IfThenZeroElse(vanishes, y);
}

}  // namespace

void attention_scores_all(const Rows& q, const Rows& k, int64_t width, float* s, int64_t s_stride,
                          const float* next) {
  const NextRows next_rows(next, k);
  for (int64_t i = 0; i < q.count; i += kScoreRows) {
    const int64_t rows = HWY_MIN(static_cast<int64_t>(kScoreRows), q.count - i);
    score_rows<kScoreRows>(rows, q.data + i * q.stride, q.stride, k, width, s + i * s_stride,
                           s_stride, next_rows);
  }
}

void attention_values_all(const Rows& p, const float* scale, const Rows& v, int64_t width, float* o,
                          int64_t o_stride, const float* next) {
  const NextRows next_rows(next, v);
  for (int64_t i = 0; i < p.count; i += kValueRows) {
    const int64_t rows = HWY_MIN(static_cast<int64_t>(kValueRows), p.count - i);
    value_rows<kValueRows>(rows, p.data + i * p.stride, p.stride, scale + i, v, width,
                           o + i * o_stride, o_stride, next_rows);
  }
}

float online_softmax_all(float* s, const uint8_t* valid, int64_t n, float* largest, float* total) {
  const DF d;
  const int64_t whole = n / kFloatLanes * kFloatLanes, rest = n - whole;
  uint8_t last_valid[kFloatLanes] = {};
  if (valid) {
    std::copy_n(valid + whole, rest, last_valid);
  } else {
    std::fill_n(last_valid, rest, uint8_t{1});
  }
  VF maximum = constant(*largest);
  for (int64_t j = 0; j < whole; j += kFloatLanes) {
    VF x = hn::LoadU(d, s + j);
    if (valid) hn::StoreU(x = valid_scores(x, valid + j), d, s + j);
    maximum = hn::Max(x, maximum);
  }
  const VF last = valid_scores(load_some(s + whole, rest), last_valid);
  maximum = hn::Max(last, maximum);
  const float next = hn::GetLane(hn::MaxOfLanes(d, maximum));
  if (next == -HUGE_VALF) return kernels::nothing_to_weigh(s, valid, n, total);
  const VF shift = constant(next);
  VF sum = hn::Zero(d);
  for (int64_t j = 0; j < whole; j += kFloatLanes) {
    const VF e = exp_or_zero(hn::Sub(hn::LoadU(d, s + j), shift));
    sum = hn::Add(sum, e);
    hn::StoreU(e, d, s + j);
  }
  const VF e = exp_or_zero(hn::Sub(last, shift));
  store_some(e, s + whole, rest);
  const float correction = *largest == next ? 1.0f : std::exp(*largest - next);
  *largest = next;
  *total = *total * correction + hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, e)));
  return correction;
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(attention_scores_all);
HWY_EXPORT(attention_values_all);
HWY_EXPORT(online_softmax_all);

void attention_scores(const Rows& q, const Rows& k, int64_t width, float* s, int64_t s_stride,
                      const float* next) {
  if (k.count > 0) HWY_DYNAMIC_DISPATCH(attention_scores_all)(q, k, width, s, s_stride, next);
}

float online_softmax(float* s, const uint8_t* valid, int64_t n, float* largest, float* total) {
  return HWY_DYNAMIC_DISPATCH(online_softmax_all)(s, valid, n, largest, total);
}

void attention_values(const Rows& p, const float* scale, const Rows& v, int64_t width, float* o,
                      int64_t o_stride, const float* next) {
  HWY_DYNAMIC_DISPATCH(attention_values_all)(p, scale, v, width, o, o_stride, next);
}

namespace reference {

void attention_scores(const Rows& q, const Rows& k, int64_t width, float* s, int64_t s_stride) {
  for (int64_t i = 0; i < q.count; ++i) {
    for (int64_t j = 0; j < k.count; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < width; ++p) {
        sum += static_cast<double>(q.data[i * q.stride + p]) * k.data[j * k.stride + p];
      }
      s[i * s_stride + j] = static_cast<float>(sum);
    }
  }
}

float online_softmax(float* s, const uint8_t* valid, int64_t n, float* largest, float* total) {
  float next = *largest;
  for (int64_t j = 0; j < n; ++j) {
    if (!valid || valid[j]) next = std::max(next, s[j]);
  }
  if (next == -HUGE_VALF) return nothing_to_weigh(s, valid, n, total);
  const double correction = std::exp(static_cast<double>(*largest) - next);
  double sum = *total * correction;
  for (int64_t j = 0; j < n; ++j) {
    const double e = !valid || valid[j] ? std::exp(static_cast<double>(s[j]) - next) : 0.0;
    sum += e;
    s[j] = static_cast<float>(e);
  }
  *largest = next;
  *total = static_cast<float>(sum);
  return static_cast<float>(correction);
}

void attention_values(const Rows& p, const float* scale, const Rows& v, int64_t width, float* o,
                      int64_t o_stride) {
  for (int64_t i = 0; i < p.count; ++i) {
    for (int64_t c = 0; c < width; ++c) {
      double sum = static_cast<double>(scale[i]) * o[i * o_stride + c];
      for (int64_t j = 0; j < v.count; ++j) {
        sum += static_cast<double>(p.data[i * p.stride + j]) * v.data[j * v.stride + c];
      }
      o[i * o_stride + c] = static_cast<float>(sum);
    }
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
