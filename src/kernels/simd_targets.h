// Which instruction sets the kernels are compiled for.
#pragma once

// Include this before any other Highway header. Kernels hold arrays of vectors, which the vector
// types of these targets do not allow, since their size is not known when compiling.
#define SL_SIZELESS_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

// The portable fallback handles one lane at a time. GCC before 12.3 miscompiles Highway's emulated
// vectors, and clang takes minutes to compile them for sanitizers.
#define HWY_BROKEN_EMU128 1

// Kernels make up most of the compile time, so some targets are left out: SSSE3 for CPUs without
// SSE4 and, in sanitizer builds, SSE4 and AVX3, so that AVX2 is tested beside the portable code.
#ifdef SL_SANITIZE
#define HWY_DISABLED_TARGETS (SL_SIZELESS_TARGETS | HWY_SSSE3 | HWY_SSE4 | HWY_AVX3)
#else
#define HWY_DISABLED_TARGETS (SL_SIZELESS_TARGETS | HWY_SSSE3)
#endif

#include <hwy/targets.h>
