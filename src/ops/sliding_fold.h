// The least, the greatest or the sum of what a window covers, as it slides along one dimension:
// what poolings are made of.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/size.h"

namespace sl::ops {

enum class Fold { kMin, kMax, kSum };

// What changes no result: of float32, int32, int8 or bool, as all here.
double identity(Fold fold, DType dtype);

// [outer, size, inner] to [outer, count, inner].
struct Slide {
  int64_t outer = 1;
  int64_t size = 0;
  int64_t inner = 1;
  int64_t taps = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t first = 0;  // where the first window starts; what lies outside of the data is left out
  int64_t count = 0;

  // Elements of its output, and of the scratch that it needs.
  int64_t output_size() const { return checked_product(outer, count, inner); }
  int64_t scratch_size() const { return checked_product(2, size, inner); }
};

// Sums of integers wrap. A window that covers nothing gives the identity.
void slide(Fold fold, DType dtype, const Slide& slide, const std::byte* x, std::byte* y,
           std::byte* scratch);

}  // namespace sl::ops
