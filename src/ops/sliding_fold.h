// Minimum, maximum or sum over a window that slides along one dimension, [outer, size, inner] to
// [outer, count, inner]; the building block of pooling.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/size.h"

namespace sl::ops {

enum class Fold { kMin, kMax, kSum };

// The value that leaves any other unchanged, e.g. 0 for a sum. The dtype is float32, int32, int8 or
// bool.
double identity(Fold fold, DType dtype);

// A fold from [outer, size, inner] to [outer, count, inner].
struct Slide {
  int64_t outer = 1;
  int64_t size = 0;
  int64_t inner = 1;
  int64_t taps = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t first = 0;  // start of the first window; taps outside of the data are left out
  int64_t count = 0;

  // Number of elements of the output, and of the scratch.
  int64_t output_size() const { return checked_product(outer, count, inner); }
  int64_t scratch_size() const { return checked_product(2, size, inner); }
};

// Folds x into y, using slide.scratch_size() elements of scratch. Sums of integers wrap. A window
// outside of the data gives the identity.
void slide(Fold fold, DType dtype, const Slide& slide, const std::byte* x, std::byte* y,
           std::byte* scratch);

}  // namespace sl::ops
