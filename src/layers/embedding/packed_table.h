// The table [count, dimension] of an Embedding as a packed matrix [dimension, count].
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "ops/elementwise.h"
#include "ops/panels.h"

namespace sl {

// The kernel of which the matrix is made: the table rounded to `param_dtype`. Layers that share a
// table have the matrix in common if they compute in the same dtypes.
inline ops::Kernel transposed_table(const ops::Kernel& table, DType param_dtype,
                                    std::optional<DType> compute_dtype) {
  const std::string part = fmt::format("transposed.{}.{}", name_of(param_dtype),
                                       name_of(compute_dtype.value_or(param_dtype)));
  return table.part(part, table.shape, [values = table.values, param_dtype] {
    std::vector<float> rounded = values();
    ops::round_to(param_dtype, rounded.data(), static_cast<int64_t>(rounded.size()));
    return rounded;
  });
}

}  // namespace sl
