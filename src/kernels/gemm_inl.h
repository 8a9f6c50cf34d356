// The product of gemm.h for kernels that contain one, included as simd_math_inl.h is, so that they
// call it without another dispatch.
#include <cstdint>

#include "kernels/panel.h"

#ifndef SL_KERNELS_GEMM_ARGS
#define SL_KERNELS_GEMM_ARGS
namespace sl::kernels::gemm_detail {

struct Args {
  const float* x;
  int64_t x_stride;
  const float* packed;
  int64_t k;  // rows of W: the distance between panels is k * kPanel
  int64_t n;
  const float* bias;
  bool accumulate;
  float* y;
  int64_t y_stride;
};

// A row of a panel is one 64-byte cache line: 1 vector of AVX-512, 2 of AVX2, 4 of SSE.
inline constexpr int64_t kPanel = kPanelColumns;

// Rows of a panel, each a cache line, that are prefetched ahead.
inline constexpr int64_t kAhead = 32;

}  // namespace sl::kernels::gemm_detail
#endif  // SL_KERNELS_GEMM_ARGS

#if defined(SL_KERNELS_GEMM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SL_KERNELS_GEMM_INL_H
#undef SL_KERNELS_GEMM_INL_H
#else
#define SL_KERNELS_GEMM_INL_H
#endif

HWY_BEFORE_NAMESPACE();
namespace sl::kernels {
namespace HWY_NAMESPACE {

int64_t column_group_all();
void gemm_all(const gemm_detail::Args& g, int64_t m);

}  // namespace HWY_NAMESPACE
}  // namespace sl::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard toggle
