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

}  // namespace sl::ops
