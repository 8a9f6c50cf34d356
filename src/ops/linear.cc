#include "ops/linear.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/packed.h"
#include "kernels/panel.h"
#include "ops/elementwise.h"
#include "ops/onednn_matmul.h"
#include "ops/openblas_matmul.h"
#include "ops/shared_product.h"

namespace sl::ops {
namespace {

// Minimum multiply-adds of a thread that pay for waking it.
constexpr int64_t kGrain = 1 << 18;

// Fewer rows than columns, or than this for each thread, are not divided between threads, each of
// which would read all of the weights: the columns are. On two threads, 64 rows of 512 x 2048 take
// 0.52 of the time of one thread for it instead of 0.78, and 128 rows 0.51 instead of 0.58.
constexpr int64_t kFewRows = 96;

// Whether the run is a step of which nobody uses the results: it finds out what steps need.
bool is_rehearsal(const Run& run) { return run.mode() == Mode::kStep && run.may_allocate(); }

// The first column that a rehearsal computes: none if it only finds out how much memory steps need,
// and otherwise so many of the last columns that the kernels still take the weights for large,
// which runs all of the code that steps run.
int64_t rehearsed_column(const Run& run, const Linear& linear) {
  if (run.workspace().allocator()) return linear.outputs();
  const int64_t group = kernels::column_group();
  const int64_t columns = ceil_div(kernels::kLargeWeights, linear.inputs()) + group;
  return std::max<int64_t>(0, linear.outputs() - columns) / group * group;
}

}  // namespace

struct Linear::Copies {
  struct Copy {
    std::once_flag once;
    std::unique_ptr<ExternalMatmul> matmul;  // null if the back end cannot make one
  };
  Copy onednn, openblas;
};

Linear::Linear(Panels panels, int64_t index)
    : panels_(std::move(panels)),
      index_(index),
      bytes_(panels_.matrix_bytes()),
      copies_(std::make_unique<Copies>()) {}

Linear::Linear(const float* w, int64_t row_stride, int64_t column_stride, int64_t inputs,
               int64_t outputs)
    : Linear(Panels(WeightFormat::kFloat32, {1, inputs, outputs},
                    [&](const Panels::Pack& pack) { pack(0, w, row_stride, column_stride); })) {}

Linear::Linear(Linear&&) noexcept = default;
Linear::~Linear() = default;

const ExternalMatmul* Linear::external(const Run& run, int64_t x_stride, int64_t y_stride) const {
  // Steps must not use them, because they allocate or lock.
  if (run.mode() == Mode::kStep || x_stride != inputs() || y_stride != outputs()) return nullptr;
  // They take a copy of the weights as float32. They would not quantize x as products with integers
  // do, so that steps would differ.
  if (format() != WeightFormat::kFloat32) return nullptr;
  const auto made = [&](Copies::Copy& copy, auto create) {
    std::call_once(copy.once,
                   [&] { copy.matmul = create(panels_.unpack(index_), inputs(), outputs()); });
    return copy.matmul.get();
  };
  switch (run.parallel().backend()) {
    case MatmulBackend::kDefault:  // the fastest by the table in docs/architecture.md
    case MatmulBackend::kOwn:
      break;
    case MatmulBackend::kOpenBlas:
      return made(copies_->openblas, OpenBlasMatmul::create);
    case MatmulBackend::kOneDnn:
      return made(copies_->onednn, OneDnnMatmul::create);
  }
  return nullptr;
}

void Linear::apply(const Run& run, const float* x, int64_t x_stride, int64_t rows,
                   const float* bias, bool accumulate, float* y, int64_t y_stride) const {
  count(run, rows);
  if (is_rehearsal(run) && inputs() * outputs() > kernels::kLargeWeights) {
    const int64_t begin = rehearsed_column(run, *this), end = outputs();
    for (int64_t i = 0; i < rows; ++i) std::fill_n(y + i * y_stride, begin, 0.0f);
    if (begin < end) apply_columns(x, x_stride, rows, begin, end, bias, accumulate, y, y_stride);
    return;
  }
  if (may_share(run, *this) && share_product(*run.parallel().team(), *this, x, x_stride, rows, bias,
                                             accumulate, y, y_stride))
    return;
  const ExternalMatmul* const other = external(run, x_stride, y_stride);
  const int64_t threads = run.parallel().num_threads();
  if (!other && threads > 1 && rows < std::max(kFewRows * threads, outputs()) &&
      outputs() >= 2 * kernels::column_group()) {
    const int64_t width = kernels::column_group(), groups = outputs() / width;
    const int64_t work = std::max<int64_t>(1, rows * inputs() * width);
    // Products of integers quantize all rows in each part.
    const bool quantizes = kernels::row_group_bytes(format()) > 0;
    const int64_t least = quantizes ? ceil_div(groups, 2 * threads) : 1;
    for_ranges(
        run, groups, std::max(least, ceil_div(kGrain, work)), [&](int64_t begin, int64_t end) {
          const int64_t last = end == groups ? outputs() : end * width;
          apply_columns(x, x_stride, rows, begin * width, last, bias, accumulate, y, y_stride);
        });
    return;
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, inputs() * outputs()));
  for_ranges(run, rows, grain, [&](int64_t begin, int64_t end) {
    const float* from = x + begin * x_stride;
    float* to = y + begin * y_stride;
    if (other && other->apply(from, end - begin, bias, accumulate, to)) return;
    panels_.multiply(index_, from, x_stride, end - begin, bias, accumulate, to, y_stride);
  });
}

void Linear::apply_columns(const float* x, int64_t x_stride, int64_t rows, int64_t begin,
                           int64_t end, const float* bias, bool accumulate, float* y,
                           int64_t y_stride) const {
  panels_.multiply_columns(index_, x, x_stride, rows, begin, end, bias, accumulate, y, y_stride);
}

}  // namespace sl::ops
