// Other orders of an array's elements: permutations, slices and repetitions, for elements of any
// size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/run.h"

namespace sl::ops {

// A selection of an array's elements, row-major over `dims`; in elements, not bytes. A stride of 0
// repeats.
struct StridedView {
  int64_t offset = 0;
  Shape dims;
  Shape strides;

  void push_back(int64_t dim, int64_t stride) {
    dims.push_back(dim);
    strides.push_back(stride);
  }
};

// All of a contiguous array.
StridedView dense_view(const Shape& shape);
// Axis i of the result is axis axes[i] of `view`.
StridedView permuted(const StridedView& view, std::span<const int> axes);
// `shape` broadcast to `to`, with which it is compatible.
StridedView broadcast_view(const Shape& shape, const Shape& to);
// The same selection over as few axes as it takes.
StridedView simplified(const StridedView& view);
// Whether the view is exactly an array of `size` elements in its own order.
bool is_whole(const StridedView& view, int64_t size);

// to[i] = the view's element i of `from`.
void gather(const StridedView& view, const std::byte* from, size_t element_bytes, std::byte* to);

// to[i] = from[steps - 1 - i], in frames of that many bytes.
void copy_reversed(const std::byte* from, size_t frame_bytes, int64_t steps, std::byte* to);

// Each frame of `to` = the view of x's frame.
void gather_steps(const Run& run, const Sequence& x, const StridedView& view, std::byte* to);

// y's frames are views of x's, seen as `channels`. x itself if nothing moves.
Sequence rearrange(Run& run, const Sequence& x, const StridedView& view, const Shape& channels);

// The same with each step `rate` times.
Sequence repeat_steps(Run& run, const Sequence& x, const StridedView& view, const Shape& channels,
                      int64_t rate);

}  // namespace sl::ops
