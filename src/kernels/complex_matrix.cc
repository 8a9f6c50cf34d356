#include "kernels/complex_matrix.h"

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/complex_matrix.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_complex_inl.h"

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_HAVE_FLOAT64
using DWide = hn::ScalableTag<double>;
using DOne = hn::CappedTag<double, 1>;

// Computes a tile of kRows rows by kVectors vectors of the result, held in registers. `a` points to
// the tile's first row, `b` to its first column, `re` and `im` to its first element.
template <class D, int kRows, int kVectors>
HWY_INLINE void run_tile(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im) {
  const D d;
  Complex<D> sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = {hn::Zero(d), hn::Zero(d)};
  }
  for (int64_t k = 0; k < n; ++k) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = k * n + v * kLanes<D>;
      const auto x = load<D>(b.re + at, b.im + at);
      for (int r = 0; r < kRows; ++r) {
        const Complex<D> factor{hn::Set(d, a.re[r * n + k]), hn::Set(d, a.im[r * n + k])};
        sum[r][v] = multiply_add(factor, x, sum[r][v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = r * n + v * kLanes<D>;
      store(sum[r][v], re + at, im + at);
    }
  }
}

template <int kRows>
HWY_INLINE void run_rows(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im) {
  constexpr int kVectors = 2;
  const auto columns_from = [&](int64_t j) { return ComplexMatrix{b.re + j, b.im + j}; };
  int64_t j = 0;
  for (; j + kVectors * kLanes<DWide> <= n; j += kVectors * kLanes<DWide>) {
    run_tile<DWide, kRows, kVectors>(a, columns_from(j), n, re + j, im + j);
  }
  for (; j < n; ++j) run_tile<DOne, kRows, 1>(a, columns_from(j), n, re + j, im + j);
}
#endif  // HWY_HAVE_FLOAT64

}  // namespace

void multiply_matrices_all(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im) {
#if HWY_HAVE_FLOAT64
  constexpr int kRows = 2;
  int64_t i = 0;
  for (; i + kRows <= n; i += kRows) {
    run_rows<kRows>({a.re + i * n, a.im + i * n}, b, n, re + i * n, im + i * n);
  }
  for (; i < n; ++i) run_rows<1>({a.re + i * n, a.im + i * n}, b, n, re + i * n, im + i * n);
#else
  reference::multiply_matrices(a, b, n, re, im);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sl::kernels {

HWY_EXPORT(multiply_matrices_all);

void multiply_matrices(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im) {
  HWY_DYNAMIC_DISPATCH(multiply_matrices_all)(a, b, n, re, im);
}

namespace reference {

void multiply_matrices(ComplexMatrix a, ComplexMatrix b, int64_t n, double* re, double* im) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum_re = 0, sum_im = 0;
      for (int64_t k = 0; k < n; ++k) {
        sum_re += a.re[i * n + k] * b.re[k * n + j] - a.im[i * n + k] * b.im[k * n + j];
        sum_im += a.re[i * n + k] * b.im[k * n + j] + a.im[i * n + k] * b.re[k * n + j];
      }
      re[i * n + j] = sum_re;
      im[i * n + j] = sum_im;
    }
  }
}

}  // namespace reference
}  // namespace sl::kernels
#endif  // HWY_ONCE
