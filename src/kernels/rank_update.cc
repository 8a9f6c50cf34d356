#include "kernels/rank_update.h"

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rank_update.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef SL_KERNELS_RANK_UPDATE_SHARED
#define SL_KERNELS_RANK_UPDATE_SHARED
namespace sl::kernels::rank_update_detail {

struct Update {
  double factor;
  const double* a;
  int64_t a_stride;
  const double* b;
  int64_t b_stride;
  int64_t count, m, n;
  double* c;
  int64_t c_stride;
};

}  // namespace sl::kernels::rank_update_detail
#endif  // SL_KERNELS_RANK_UPDATE_SHARED

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using rank_update_detail::Update;

#if HWY_HAVE_FLOAT64
using D = hn::ScalableTag<double>;
#else
using D = hn::CappedTag<double, 1>;
#endif

// Adds to kRows rows of kVectors vectors, whose sums are in registers.
template <int kRows, int kVectors>
HWY_INLINE void add_tile(const Update& u, int64_t row, int64_t column) {
  const D d;
  constexpr int64_t kLanes = hn::MaxLanes(D());
  hn::Vec<D> sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  const double* a = u.a + row;
  const double* b = u.b + column;
  for (int64_t q = 0; q < u.count; ++q, a += u.a_stride, b += u.b_stride) {
    hn::Vec<D> values[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) values[v] = hn::LoadU(d, b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const hn::Vec<D> factor = hn::Set(d, a[r]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, values[v], sum[r][v]);
    }
  }
  const hn::Vec<D> factor = hn::Set(d, u.factor);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    double* const c = u.c + (row + r) * u.c_stride + column;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(hn::MulAdd(factor, sum[r][v], hn::LoadU(d, c + v * kLanes)), d, c + v * kLanes);
    }
  }
}

template <int kRows>
HWY_INLINE void add_rows(const Update& u, int64_t row) {
  constexpr int kWide = 2;
  constexpr int64_t kLanes = hn::MaxLanes(D());
  int64_t column = 0;
  for (; column + kWide * kLanes <= u.n; column += kWide * kLanes)
    add_tile<kRows, kWide>(u, row, column);
  for (; column + kLanes <= u.n; column += kLanes) add_tile<kRows, 1>(u, row, column);
  for (; column < u.n; ++column) {
    for (int r = 0; r < kRows; ++r) {
      double sum = 0;
      for (int64_t q = 0; q < u.count; ++q)
        sum += u.a[q * u.a_stride + row + r] * u.b[q * u.b_stride + column];
      u.c[(row + r) * u.c_stride + column] += u.factor * sum;
    }
  }
}

}  // namespace

void rank_update_all(const Update& u) {
  constexpr int kRows = 6;
  int64_t row = 0;
  for (; row + kRows <= u.m; row += kRows) add_rows<kRows>(u, row);
  for (; row < u.m; ++row) add_rows<1>(u, row);
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(rank_update_all);

void rank_update(double factor, const double* a, int64_t a_stride, const double* b,
                 int64_t b_stride, int64_t count, int64_t m, int64_t n, double* c,
                 int64_t c_stride) {
  HWY_DYNAMIC_DISPATCH(rank_update_all)
  ({factor, a, a_stride, b, b_stride, count, m, n, c, c_stride});
}

}  // namespace sl::kernels
#endif  // HWY_ONCE
