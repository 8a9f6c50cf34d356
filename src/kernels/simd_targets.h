#pragma once

// Include before any other Highway header. Kernels hold arrays of vectors, which the sizeless
// vector types of these targets do not allow.
#define SL_SIZELESS_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

// Kernels are most of what is compiled: none for CPUs that have SSSE3 but not SSE4, and under
// sanitizers AVX2 beside the portable ones.
#ifdef SL_SANITIZE
#define HWY_DISABLED_TARGETS (SL_SIZELESS_TARGETS | HWY_SSSE3 | HWY_SSE4 | HWY_AVX3)
#else
#define HWY_DISABLED_TARGETS (SL_SIZELESS_TARGETS | HWY_SSSE3)
#endif

#include <hwy/targets.h>
