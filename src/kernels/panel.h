// What every format of packed weights has in common: panels of columns, one after the other.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Columns in a panel, on every instruction set. The last panel is padded with zeros.
inline constexpr int64_t kPanelColumns = 16;

constexpr int64_t panels_of(int64_t n) { return (n + kPanelColumns - 1) / kPanelColumns; }

// Minimum number of weights that no L2 cache keeps from one product to the next. A product with few
// rows is as fast as it reads them, and prefetches them.
inline constexpr int64_t kLargeWeights = int64_t{1} << 18;

}  // namespace sl::kernels
