#include "ops/shared_product.h"

#include <algorithm>

#include "kernels/gemm.h"

namespace sl::ops {
namespace {

// Minimum bytes of weights that pay for sharing them, and of a part.
constexpr int64_t kSharedBytes = int64_t{1} << 18;
constexpr int64_t kPartBytes = int64_t{1} << 16;

// Some of the columns of a product. Trivially copyable: workers get a copy.
struct Columns {
  const Linear* linear;
  const float* x;
  int64_t x_stride;
  int64_t rows;
  const float* bias;
  float* y;
  int64_t y_stride;
  int32_t accumulate;
  int32_t parts;

  int64_t begin(int64_t part) const { return kernels::part_column(linear->outputs(), part, parts); }
  void part(int64_t, int64_t part, int64_t) const {
    linear->apply_columns(x, x_stride, rows, begin(part), begin(part + 1), bias, accumulate != 0, y,
                          y_stride);
  }
};

void copy_rows(const float* from, int64_t from_stride, int64_t rows, int64_t count, float* to,
               int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_stride, count, to + r * to_stride);
}

// Runs the product with copies of x and of what y starts from in the crew's memory.
void share(Crew& crew, float* memory, const Columns& own) {
  const int64_t inputs = own.linear->inputs(), outputs = own.linear->outputs();
  Columns shared = own;
  shared.x = memory;
  shared.x_stride = inputs;
  shared.y = memory + own.rows * inputs;
  shared.y_stride = outputs;
  shared.bias = nullptr;
  copy_rows(own.x, own.x_stride, own.rows, inputs, memory, inputs);
  if (own.accumulate) {
    copy_rows(own.y, own.y_stride, own.rows, outputs, shared.y, outputs);
  } else if (own.bias) {
    copy_rows(own.bias, 0, own.rows, outputs, shared.y, outputs);
    shared.accumulate = 1;
  }
  crew.run(
      shared, own.parts, [&](int64_t part) { own.part(0, part, 0); },
      [&](int64_t part) {
        const int64_t begin = own.begin(part);
        copy_rows(shared.y + begin, outputs, own.rows, own.begin(part + 1) - begin, own.y + begin,
                  own.y_stride);
      });
}

}  // namespace

bool may_share(const Run& run, const Linear& linear) {
  return run.parallel().team() != nullptr && linear.bytes() >= kSharedBytes &&
         linear.outputs() >= 2 * kernels::column_group();
}

bool share_product(const StepTeam& team, const Linear& linear, const float* x, int64_t x_stride,
                   int64_t rows, const float* bias, bool accumulate, float* y, int64_t y_stride) {
  const int64_t inputs = linear.inputs(), outputs = linear.outputs();
  const int64_t bytes = linear.bytes(), groups = kernels::column_groups(outputs);
  const auto room = static_cast<int64_t>(StepTeam::kMemoryBytes / sizeof(float));
  const int64_t most_rows = room / (inputs + outputs);
  const int64_t parts = std::min({groups, bytes / kPartBytes, Crew::kMaxParts});
  int64_t row = 0;
  for (int64_t count; row < rows; row += count) {
    count = std::min(rows - row, most_rows);
    const StepTeam::Turn turn(team);
    if (!turn.memory() || count == 0) break;
    share(turn.crew(), reinterpret_cast<float*>(turn.memory()),
          {&linear, x + row * x_stride, x_stride, count, bias, y + row * y_stride, y_stride,
           accumulate ? 1 : 0, static_cast<int32_t>(parts)});
  }
  if (row == 0) return false;
  if (row < rows) {
    linear.apply_columns(x + row * x_stride, x_stride, rows - row, 0, outputs, bias, accumulate,
                         y + row * y_stride, y_stride);
  }
  return true;
}

}  // namespace sl::ops
