#include "ops/index_map.h"

#include <algorithm>
#include <cstring>

#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// One frame's copy from an axis on, with sizes in elements.
struct FrameCopy {
  std::span<const AxisMap> maps;
  const Shape& from;
  const Shape& to;
  const std::byte* fill;
  size_t element;

  static int64_t inner(const Shape& shape, int axis) {
    return shape.slice(axis + 1, shape.rank()).size();
  }
  size_t bytes(int64_t count) const { return static_cast<size_t>(count) * element; }

  void fill_in(std::byte* y, int64_t count) const {
    for (int64_t i = 0; i < count; ++i) std::memcpy(y + bytes(i), fill, element);
  }
  // Copies ranges of neighbours at once.
  void copy_row(AxisMap map, const std::byte* x, std::byte* y) const {
    for (size_t i = 0; i < map.size();) {
      size_t end = i + 1;
      const int64_t first = map[i];
      while (end < map.size() && map[end] == (first == kFill ? kFill : first + int64_t(end - i)))
        ++end;
      const auto count = static_cast<int64_t>(end - i);
      std::byte* const to = y + bytes(static_cast<int64_t>(i));
      if (first == kFill) {
        fill_in(to, count);
      } else {
        std::memcpy(to, x + bytes(first), bytes(count));
      }
      i = end;
    }
  }
  void copy(int axis, const std::byte* x, std::byte* y) const {
    const AxisMap map = maps[static_cast<size_t>(axis)];
    if (axis + 1 == to.rank()) {
      copy_row(map, x, y);
      return;
    }
    const int64_t from_stride = inner(from, axis), to_stride = inner(to, axis);
    for (const int64_t source : map) {
      if (source == kFill) {
        fill_in(y, to_stride);
      } else {
        copy(axis + 1, x + bytes(source * from_stride), y);
      }
      y += bytes(to_stride);
    }
  }
};

}  // namespace

void copy_mapped(const Run& run, const Sequence& x, std::span<const AxisMap> maps,
                 const std::byte* fill, const Sequence& y) {
  if (y.channels.size() == 0) return;
  const FrameCopy copy{maps, x.channels, y.channels, fill, size_of(x.dtype)};
  for_steps(run, x.steps(), y.frame_size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (y.channels.empty()) {
        std::memcpy(y.frame(0, i), x.frame(0, i), copy.element);
      } else {
        copy.copy(0, x.frame(0, i), y.frame(0, i));
      }
    }
  });
}

}  // namespace sl::ops
