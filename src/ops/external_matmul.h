// Y = X W + bias by another library, for X [rows, inputs], W [inputs, outputs], Y [rows, outputs].
// Only for layer-wise runs, because other libraries allocate or lock.
#pragma once

#include <cstdint>

namespace sl::ops {

class ExternalMatmul {
 public:
  virtual ~ExternalMatmul() = default;

  // y[i] = x[i] W + (accumulate ? y[i] : bias ? bias : 0) for contiguous x and y, on the calling
  // thread. Returns false and leaves y unchanged if the library cannot compute it.
  virtual bool apply(const float* x, int64_t rows, const float* bias, bool accumulate,
                     float* y) const noexcept = 0;
};

}  // namespace sl::ops
