// y = table[i] for a table of vectors [rows, dimension] and an index i.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "core/tensor.h"
#include "ops/elementwise.h"

namespace sl::ops {

class LookupTable {
 public:
  // Copies `table` [rows, dimension], since a step must not wait for pages of a mapped file.
  LookupTable(const Tensor& table, DType dtype)
      : rows_(table.shape[0]),
        row_bytes_(static_cast<size_t>(table.shape[1]) * size_of(dtype)),
        values_(static_cast<size_t>(rows_ + 1) * row_bytes_) {
    const int64_t dimension = table.shape[1];
    convert(table.data, table.dtype, values_.data(), dtype, table.shape.size());
    const std::vector<float> missing(static_cast<size_t>(dimension),
                                     std::numeric_limits<float>::quiet_NaN());
    std::byte* last = values_.data() + static_cast<size_t>(rows_) * row_bytes_;
    convert(missing.data(), DType::kFloat32, last, dtype, dimension);
  }

  int64_t rows() const { return rows_; }
  // Copies row i to `to`, or NaN if there is no such row.
  void copy_row(int64_t i, std::byte* to) const { std::memcpy(to, row(i), row_bytes_); }
  // The same, for a table in `dtype`, as float32.
  void copy_floats(int64_t i, DType dtype, float* to) const {
    convert(row(i), dtype, to, DType::kFloat32, static_cast<int64_t>(row_bytes_ / size_of(dtype)));
  }

 private:
  const std::byte* row(int64_t i) const {
    if (i < 0 || i > rows_) i = rows_;
    return values_.data() + static_cast<size_t>(i) * row_bytes_;
  }

  int64_t rows_;
  size_t row_bytes_;
  std::vector<std::byte> values_;  // with a row of NaN at the end
};

// Element i of a sequence of int32 or int8.
inline int64_t integer_at(const Sequence& x, int64_t i) {
  return x.dtype == DType::kInt32 ? x.as<int32_t>()[i] : x.as<int8_t>()[i];
}

}  // namespace sl::ops
