#include "ops/linear.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

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

}  // namespace

struct Linear::OneDnn {
  std::once_flag once;
  std::unique_ptr<OneDnnMatmul> matmul;
};

void set_matmul_backend(MatmulBackend backend) { g_backend = backend; }

Linear::Linear(Panels panels, int64_t index)
    : panels_(std::move(panels)), index_(index), onednn_(std::make_unique<OneDnn>()) {}

Linear::Linear(const float* w, int64_t row_stride, int64_t column_stride, int64_t inputs,
               int64_t outputs)
    : Linear(Panels(WeightFormat::kFloat32, {1, inputs, outputs},
                    [&](const Panels::Pack& pack) { pack(0, w, row_stride, column_stride); })) {}

Linear::Linear(Linear&&) noexcept = default;
Linear::~Linear() = default;

bool Linear::use_onednn(const Run& run, int64_t x_stride, int64_t rows, int64_t y_stride) const {
  // Steps must not use oneDNN, because executing a primitive allocates.
  if (run.mode() == Mode::kStep || x_stride != inputs() || y_stride != outputs()) return false;
  // oneDNN takes a copy of the weights as float32. It would not quantize x as products with
  // integers do, so that steps would differ.
  if (format() != WeightFormat::kFloat32) return false;
  const MatmulBackend backend = g_backend;
  if (backend != MatmulBackend::kDefault) return backend == MatmulBackend::kOneDnn;
  return rows >= kOneDnnWork / std::max<int64_t>(inputs() * outputs(), 1) &&
         OneDnnMatmul::preferred();
}

void Linear::count(const Run& run, int64_t rows) const {
  run.parallel().count(2 * rows * inputs() * outputs(), panels_.matrix_bytes());
}

void Linear::apply(const Run& run, const float* x, int64_t x_stride, int64_t rows,
                   const float* bias, bool accumulate, float* y, int64_t y_stride) const {
  count(run, rows);
  const OneDnnMatmul* onednn = nullptr;
  if (use_onednn(run, x_stride, rows, y_stride)) {
    std::call_once(onednn_->once, [&] {
      const std::vector<float> w = panels_.unpack(index_);
      onednn_->matmul = OneDnnMatmul::create(w.data(), inputs(), outputs());
    });
    onednn = onednn_->matmul.get();
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, inputs() * outputs()));
  for_ranges(run, rows, grain, [&](int64_t begin, int64_t end) {
    const float* from = x + begin * x_stride;
    float* to = y + begin * y_stride;
    if (onednn && onednn->apply(from, end - begin, bias, accumulate, to)) return;
    panels_.multiply(index_, from, x_stride, end - begin, bias, accumulate, to, y_stride);
  });
}

void Linear::apply_columns(const float* x, int64_t x_stride, int64_t rows, int64_t begin,
                           int64_t end, const float* bias, bool accumulate, float* y,
                           int64_t y_stride) const {
  panels_.multiply_columns(index_, x, x_stride, rows, begin, end, bias, accumulate, y, y_stride);
}

}  // namespace sl::ops
