// Frames as rows [count, length] of chosen channel axes, for operations on rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/run.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"

namespace sl::ops {

// The views that move chosen axes of a frame to the end, and back.
struct FrameRows {
  StridedView to_rows;
  StridedView back;  // view of the rows that restores the frame's order
  int64_t length;    // elements of a row
  bool in_place;     // whether the chosen axes are already the last ones
};
FrameRows rows_along(const Shape& channels, uint32_t axes);

// x = activation(x) in place, over any channel axes. The dtype of x must be inexact.
void activate_along(Run& run, const Sequence& x, const Activation& activation);

// y = fn(x) row by row, for elements x and y of sequences with the spec and length of `like`, which
// is not empty. Calls fn(x, row count, y), where y may be x.
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
