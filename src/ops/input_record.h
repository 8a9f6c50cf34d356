// Statistics of the inputs of matrices, recorded in products.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/panels.h"

namespace sl::ops {

// Sums of the products of the inputs [begin, begin + size) of a matrix with each other.
class InputMoments {
 public:
  // Adds every `stride`-th row.
  InputMoments(int64_t begin, int64_t size, int64_t stride);

  // The memory of the moments of so many inputs, in bytes.
  static size_t bytes(int64_t size);

  void add(const float* x, int64_t x_stride, int64_t rows);
  int64_t begin() const { return begin_; }
  int64_t size() const { return size_; }
  // The lower triangle of the sums, [size, size], for which the object has no more use.
  std::vector<double> take();

 private:
  void flush();

  int64_t begin_, size_, stride_;
  int64_t skipped_ = 0;       // rows since the last one that was added
  int64_t waiting_ = 0;       // rows in rows_
  std::vector<double> rows_;  // [kRows, size]
  std::vector<double> sums_;
};

// Records the inputs of a set of matrices: how many rows they have, and the moments that are asked
// for. One thread at a time.
class InputRecord {
 public:
  explicit InputRecord(const MatrixSizes& sizes) : rows_(static_cast<size_t>(sizes.count)) {}

  // Called by products with matrix `index`.
  void add(int64_t index, const float* x, int64_t x_stride, int64_t rows);

  // Rows of matrix `index` so far.
  int64_t rows(int64_t index) const { return rows_[static_cast<size_t>(index)]; }
  // Moments of matrix `index`, to which products add until they are cleared.
  void watch(int64_t index, InputMoments* moments) { watched_.push_back({index, moments}); }
  void clear() { watched_.clear(); }

 private:
  struct Watched {
    int64_t index;
    InputMoments* moments;
  };

  std::vector<int64_t> rows_;
  std::vector<Watched> watched_;
};

}  // namespace sl::ops
