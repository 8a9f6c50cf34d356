#include "ops/linear.h"

#include "kernels/gemm.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// Multiply-adds that pay for waking a thread.
constexpr int64_t kGrain = 1 << 18;

}  // namespace

Linear::Linear(const float* w, int64_t row_stride, int64_t column_stride, int64_t inputs, int64_t outputs)
    : inputs_(inputs), outputs_(outputs), packed_(static_cast<size_t>(kernels::packed_size(inputs, outputs))) {
  kernels::pack(w, row_stride, column_stride, inputs, outputs, packed_.data());
}

void Linear::apply(const Run& run, const float* x, int64_t x_stride, int64_t rows, const float* bias, bool accumulate,
                   float* y, int64_t y_stride) const {
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, inputs_ * outputs_));
  for_ranges(run, rows, grain, [&](int64_t begin, int64_t end) {
    kernels::gemm_packed(x + begin * x_stride, x_stride, packed_.data(), end - begin, inputs_, outputs_, bias,
                         accumulate, y + begin * y_stride, y_stride);
  });
}

}  // namespace sl::ops
