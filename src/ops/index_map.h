// y[i, j, ...] = x[f(i), g(j), ...]: every axis of a frame has its own map of positions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/run.h"

namespace sl::ops {

// The source of each position of an output axis; kFill for none.
constexpr int64_t kFill = -1;
using AxisMap = std::span<const int64_t>;

// Copies the frames of x to those of y, which has the same dtype and number of axes. Where an axis
// has no source stands `fill`, an element of that dtype.
void copy_mapped(const Run& run, const Sequence& x, std::span<const AxisMap> maps,
                 const std::byte* fill, const Sequence& y);

}  // namespace sl::ops
