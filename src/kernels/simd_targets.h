#pragma once

// Include before any other Highway header. Kernels hold arrays of vectors, which the sizeless
// vector types of these targets do not allow.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

#include <hwy/targets.h>
