// Frames seen as rows: some of their axes last, to be worked on together.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/run.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"

namespace sl::ops {

// A frame with the axes whose bits are set last.
struct FrameRows {
  StridedView to_rows;
  StridedView back;  // of the rows: the frame's own order
  int64_t length;    // of a row
  bool in_place;     // the frame is in that order already
};
FrameRows rows_along(const Shape& channels, uint32_t axes);

// y = fn(x) by rows, for the elements x and y of sequences like `like`, which is not empty:
// fn(x, row count, y) may have to work in place.
template <typename T, typename Fn>
void for_rows(Run& run, const Sequence& like, const FrameRows& rows, const T* x, T* y, Fn&& fn) {
  const int64_t frame = like.frame_size(), count = frame / rows.length;
  if (rows.in_place) {
    for_steps(run, like.steps(), frame, [&](int64_t begin, int64_t end) {
      fn(x + begin * frame, (end - begin) * count, y + begin * frame);
    });
    return;
  }
  auto* sorted = run.scratch<T>(like.size());
  for_steps(run, like.steps(), frame, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * frame; at < end * frame; at += frame) {
      auto* row = reinterpret_cast<std::byte*>(sorted + at);
      gather(rows.to_rows, reinterpret_cast<const std::byte*>(x + at), sizeof(T), row);
      fn(sorted + at, count, sorted + at);
      gather(rows.back, row, sizeof(T), reinterpret_cast<std::byte*>(y + at));
    }
  });
}

}  // namespace sl::ops
