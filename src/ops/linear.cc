#include "ops/linear.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "kernels/gemm.h"
#include "ops/elementwise.h"
#include "ops/onednn_matmul.h"

namespace sl::ops {
namespace {

// Minimum multiply-adds of a thread that pay for waking it.
constexpr int64_t kGrain = 1 << 18;

// Minimum multiply-adds of a product that pay for loading oneDNN. For smaller products the
// library's own kernels are as fast, and they survive a lack of memory, which ends the process
// inside oneDNN.
constexpr int64_t kOneDnnWork = int64_t{1} << 28;

std::atomic<MatmulBackend> g_backend{MatmulBackend::kDefault};

// Restores row-major weights [inputs, outputs] from their packed form.
std::vector<float> unpack(const float* packed, int64_t inputs, int64_t outputs) {
  const int64_t width = kernels::panel_width();
  std::vector<float> w(static_cast<size_t>(inputs * outputs));
  for (int64_t p = 0; p < inputs; ++p) {
    for (int64_t j = 0; j < outputs; ++j) {
      const int64_t from = (j / width * inputs + p) * width + j % width;
      w[static_cast<size_t>(p * outputs + j)] = packed[from];
    }
  }
  return w;
}

}  // namespace

struct Linear::OneDnn {
  std::once_flag once;
  std::unique_ptr<OneDnnMatmul> matmul;
};

void set_matmul_backend(MatmulBackend backend) { g_backend = backend; }

Linear::Linear(const float* w, int64_t row_stride, int64_t column_stride, int64_t inputs,
               int64_t outputs)
    : inputs_(inputs),
      outputs_(outputs),
      packed_(static_cast<size_t>(kernels::packed_size(inputs, outputs)) * sizeof(float),
              Allocator()),
      onednn_(std::make_unique<OneDnn>()) {
  kernels::pack(w, row_stride, column_stride, inputs, outputs,
                reinterpret_cast<float*>(packed_.data()));
}

Linear::Linear(Linear&&) noexcept = default;
Linear::~Linear() = default;

bool Linear::use_onednn(const Run& run, int64_t x_stride, int64_t rows, int64_t y_stride) const {
  // Steps must not use oneDNN, because executing a primitive allocates.
  if (run.mode() == Mode::kStep || x_stride != inputs_ || y_stride != outputs_) return false;
  const MatmulBackend backend = g_backend;
  if (backend != MatmulBackend::kDefault) return backend == MatmulBackend::kOneDnn;
  return rows >= kOneDnnWork / std::max<int64_t>(inputs_ * outputs_, 1) &&
         OneDnnMatmul::preferred();
}

void Linear::apply(const Run& run, const float* x, int64_t x_stride, int64_t rows,
                   const float* bias, bool accumulate, float* y, int64_t y_stride) const {
  run.parallel().count(2 * rows * inputs_ * outputs_,
                       inputs_ * outputs_ * static_cast<int64_t>(sizeof(float)));
  const OneDnnMatmul* onednn = nullptr;
  if (use_onednn(run, x_stride, rows, y_stride)) {
    std::call_once(onednn_->once, [&] {
      const std::vector<float> w = unpack(packed(), inputs_, outputs_);
      onednn_->matmul = OneDnnMatmul::create(w.data(), inputs_, outputs_);
    });
    onednn = onednn_->matmul.get();
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, inputs_ * outputs_));
  for_ranges(run, rows, grain, [&](int64_t begin, int64_t end) {
    const float* from = x + begin * x_stride;
    float* to = y + begin * y_stride;
    if (onednn && onednn->apply(from, end - begin, bias, accumulate, to)) return;
    kernels::gemm_packed(from, x_stride, packed(), end - begin, inputs_, outputs_, bias, accumulate,
                         to, y_stride);
  });
}

void Linear::apply_columns(const float* x, int64_t x_stride, int64_t rows, int64_t begin,
                           int64_t end, const float* bias, bool accumulate, float* y,
                           int64_t y_stride) const {
  kernels::gemm_packed(x, x_stride, packed() + begin * inputs_, rows, inputs_, end - begin,
                       bias ? bias + begin : nullptr, accumulate, y + begin, y_stride);
}

}  // namespace sl::ops
