#include "ops/rearrange.h"

#include <array>
#include <cstring>

#include "ops/elementwise.h"

namespace sl::ops {
namespace {

template <size_t kBytes>
void copy_elements(const std::byte* from, int64_t stride, int64_t count, std::byte* to) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + static_cast<size_t>(i) * kBytes,
                from + i * stride * static_cast<int64_t>(kBytes), kBytes);
  }
}

using CopyElements = void (*)(const std::byte*, int64_t, int64_t, std::byte*);

CopyElements copy_elements_of(size_t bytes) {
  switch (bytes) {
    case 1:
      return copy_elements<1>;
    case 2:
      return copy_elements<2>;
    case 4:
      return copy_elements<4>;
    default:
      return copy_elements<8>;
  }
}

void gather_simplified(const StridedView& view, const std::byte* from, size_t bytes,
                       std::byte* to) {
  const auto size = static_cast<int64_t>(bytes);
  from += view.offset * size;
  if (view.dims.size() == 0) return;
  if (view.dims.empty()) {
    std::memcpy(to, from, bytes);
    return;
  }
  const int inner = view.dims.rank() - 1;
  const int64_t run = view.dims[inner], stride = view.strides[inner];
  const CopyElements copy = copy_elements_of(bytes);
  std::array<int64_t, Shape::kMaxRank> index{};
  for (int axis = 0; axis >= 0;) {
    if (stride == 1) {
      std::memcpy(to, from, static_cast<size_t>(run) * bytes);
    } else {
      copy(from, stride, run, to);
    }
    to += run * size;
    // Advances to the next index of the outer axes.
    for (axis = inner - 1; axis >= 0; --axis) {
      int64_t& i = index[static_cast<size_t>(axis)];
      from += view.strides[axis] * size;
      if (++i < view.dims[axis]) break;
      from -= view.strides[axis] * i * size;
      i = 0;
    }
  }
}

}  // namespace

StridedView dense_view(const Shape& shape) {
  StridedView view;
  view.dims = view.strides = shape;
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    view.strides[i] = stride;
    stride *= shape[i];
  }
  return view;
}

StridedView permuted(const StridedView& view, std::span<const int> axes) {
  StridedView out;
  out.offset = view.offset;
  for (int axis : axes) out.push_back(view.dims[axis], view.strides[axis]);
  return out;
}

StridedView broadcast_view(const Shape& shape, const Shape& to) {
  const StridedView dense = dense_view(shape);
  const int missing = to.rank() - shape.rank();
  StridedView out;
  for (int i = 0; i < to.rank(); ++i) {
    const bool repeats = i < missing || shape[i - missing] == 1;
    out.push_back(to[i], repeats ? 0 : dense.strides[i - missing]);
  }
  return out;
}

StridedView simplified(const StridedView& view) {
  StridedView out;
  out.offset = view.offset;
  for (int i = 0; i < view.dims.rank(); ++i) {
    if (view.dims[i] == 1) continue;
    const bool merges = !out.dims.empty() && out.strides.back() == view.strides[i] * view.dims[i];
    if (merges) {
      out.dims.back() *= view.dims[i];
      out.strides.back() = view.strides[i];
    } else {
      out.push_back(view.dims[i], view.strides[i]);
    }
  }
  return out;
}

bool is_whole(const StridedView& view, int64_t size) {
  const StridedView simple = simplified(view);
  if (simple.offset != 0 || simple.dims.size() != size) return false;
  return simple.dims.empty() || (simple.dims.rank() == 1 && simple.strides[0] == 1);
}

void gather(const StridedView& view, const std::byte* from, size_t element_bytes, std::byte* to) {
  gather_simplified(simplified(view), from, element_bytes, to);
}

void copy_reversed(const std::byte* from, size_t frame_bytes, int64_t steps, std::byte* to) {
  for (int64_t i = 0; i < steps; ++i) {
    std::memcpy(to + static_cast<size_t>(i) * frame_bytes,
                from + static_cast<size_t>(steps - 1 - i) * frame_bytes, frame_bytes);
  }
}

void gather_steps(const Run& run, const Sequence& x, const StridedView& view, std::byte* to) {
  const StridedView simple = simplified(view);
  const size_t element = size_of(x.dtype), frame = x.frame_bytes();
  const size_t to_frame = static_cast<size_t>(simple.dims.size()) * element;
  for_steps(run, x.steps(), simple.dims.size(), [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      gather_simplified(simple, x.values + i * frame, element, to + i * to_frame);
    }
  });
}

Sequence rearrange(Run& run, const Sequence& x, const StridedView& view, const Shape& channels) {
  if (is_whole(view, x.frame_size())) return x.with_channels(channels);
  const Sequence y = run.output_like(x, {x.dtype, channels});
  gather_steps(run, x, view, y.values);
  return y;
}

Sequence repeat_steps(Run& run, const Sequence& x, const StridedView& view, const Shape& channels,
                      int64_t rate) {
  const Sequence y = run.output({x.dtype, channels}, x.batch, x.time * rate);
  const StridedView simple = simplified(view);
  const size_t frame = y.frame_bytes();
  for_steps(run, x.steps(), y.frame_size() * rate, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::byte* const first = y.values + static_cast<size_t>(i * rate) * frame;
      gather_simplified(simple, x.values + static_cast<size_t>(i) * x.frame_bytes(),
                        size_of(x.dtype), first);
      for (int64_t j = 1; j < rate; ++j) {
        std::memcpy(first + static_cast<size_t>(j) * frame, first, frame);
      }
      std::memset(y.mask + i * rate, x.mask[i], static_cast<size_t>(rate));
    }
  });
  return y;
}

}  // namespace sl::ops
