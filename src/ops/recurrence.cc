#include "ops/recurrence.h"

#include <algorithm>

#include "kernels/gemm.h"

namespace sl::ops {
namespace {

// Minimum weights of a part, which a thread reads in a few microseconds.
constexpr int64_t kGrain = 1 << 15;

// Rows of an input product that are enough for its row blocks to be efficient.
constexpr int64_t kRows = 96;

}  // namespace

int64_t unit_parts(const Run& run, int64_t units, int64_t weights) {
  const int64_t threads = run.parallel().num_threads(), group = kernels::column_group();
  if (threads == 1 || units % group != 0) return 1;
  const int64_t parts = std::min({threads, units / group, weights / kGrain, kMostLockstepParts});
  return std::max<int64_t>(1, parts);
}

Units unit_part(int64_t units, int64_t parts, int64_t i) {
  const int64_t group = kernels::column_group(), groups = units / group;
  return {groups * i / parts * group, groups * (i + 1) / parts * group};
}

int64_t steps_at_once(const Run& run, int64_t steps, int64_t rows, int64_t parts) {
  if (parts == 1 && run.parallel().num_threads() > 1) return std::max<int64_t>(1, steps);
  return std::clamp<int64_t>(kRows / std::max<int64_t>(1, rows), 1, std::max<int64_t>(1, steps));
}

void apply_gates(const Run& run, const Linear& linear, int64_t units, Units some, const float* x,
                 int64_t x_stride, int64_t rows, const float* bias, bool accumulate, float* y,
                 int64_t y_stride) {
  if (some.size() == units) {
    linear.apply(run, x, x_stride, rows, bias, accumulate, y, y_stride);
    return;
  }
  for (int64_t gate = 0; gate < linear.outputs(); gate += units) {
    linear.apply_columns(x, x_stride, rows, gate + some.begin, gate + some.end, bias, accumulate, y,
                         y_stride);
  }
}

}  // namespace sl::ops
