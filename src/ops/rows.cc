#include "ops/rows.h"

#include <array>
#include <span>

namespace sl::ops {

FrameRows rows_along(const Shape& channels, uint32_t axes) {
  const int rank = channels.rank();
  std::array<int, Shape::kMaxRank> order{}, inverse{};
  FrameRows rows{{}, {}, 1, false};
  int next = 0;
  for (const uint32_t wanted : {0u, 1u}) {
    for (int i = 0; i < rank; ++i) {
      if ((axes >> i & 1u) != wanted) continue;
      if (wanted) rows.length *= channels[i];
      inverse[static_cast<size_t>(i)] = next;
      order[static_cast<size_t>(next++)] = i;
    }
  }
  const auto count = static_cast<size_t>(rank);
  rows.to_rows = permuted(dense_view(channels), std::span(order).first(count));
  rows.back = permuted(dense_view(rows.to_rows.dims), std::span(inverse).first(count));
  rows.in_place = is_whole(rows.to_rows, channels.size());
  return rows;
}

void activate_along(Run& run, const Sequence& x, const Activation& activation) {
  if (x.size() == 0) return;
  const int rank = x.channels.rank();
  const RowAxes axes = activation.is_elementwise() ? RowAxes{} : activation.axes;
  const FrameRows rows = rows_along(x.channels, rank == 0 ? 0 : row_axes(axes, rank));
  if (x.dtype == DType::kComplex64) {
    auto* values = x.as<complex64>();
    for_rows(run, x, rows, values, values, [&](const complex64*, int64_t count, complex64* row) {
      for (int64_t i = 0; i < count; ++i) activate(row + i * rows.length, rows.length, activation);
    });
    return;
  }
  const bool direct = x.dtype == DType::kFloat32;
  float* values = direct ? x.floats() : run.scratch<float>(x.size());
  if (!direct) convert(x.values, x.dtype, values, DType::kFloat32, x.size());
  for_rows(run, x, rows, values, values, [&](const float*, int64_t count, float* row) {
    activate_rows(row, count, rows.length, activation, x.dtype);
  });
  if (!direct) convert(values, DType::kFloat32, x.values, x.dtype, x.size());
}

}  // namespace sl::ops
