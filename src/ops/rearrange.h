// y[i] = x[view(i)]: permutations, slices and repetitions of an array's elements, of any element
// size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/run.h"

namespace sl::ops {

// A selection of an array's elements, row-major over `dims`. Offset and strides are in elements; a
// stride of 0 repeats an element.
struct StridedView {
  int64_t offset = 0;
  Shape dims;
  Shape strides;

  void push_back(int64_t dim, int64_t stride) {
    dims.push_back(dim);
    strides.push_back(stride);
  }
};

// The view of all elements of a contiguous array.
StridedView dense_view(const Shape& shape);
// A view whose axis i is axis axes[i] of `view`.
StridedView permuted(const StridedView& view, std::span<const int> axes);
// The view that broadcasts an array of shape `shape` to the compatible shape `to`.
StridedView broadcast_view(const Shape& shape, const Shape& to);
// A view of the same elements with the minimum number of axes.
StridedView simplified(const StridedView& view);
// Whether the view is all of an array of `size` elements in unchanged order.
bool is_whole(const StridedView& view, int64_t size);

// to[i] = element i of the view of `from`.
void gather(const StridedView& view, const std::byte* from, size_t element_bytes, std::byte* to);

// to[i] = from[steps - 1 - i] for frames of `frame_bytes` bytes.
void copy_reversed(const std::byte* from, size_t frame_bytes, int64_t steps, std::byte* to);

// Writes the view of each frame of x to the corresponding frame of `to`.
void gather_steps(const Run& run, const Sequence& x, const StridedView& view, std::byte* to);

// A sequence of channel shape `channels` whose frames are the view of x's frames; x itself, with
// that shape, if the view changes nothing.
Sequence rearrange(Run& run, const Sequence& x, const StridedView& view, const Shape& channels);

// Like rearrange, with each step repeated `rate` times.
Sequence repeat_steps(Run& run, const Sequence& x, const StridedView& view, const Shape& channels,
                      int64_t rate);

}  // namespace sl::ops
