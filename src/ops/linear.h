// Products with a constant matrix, packed once.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/run.h"

namespace sl::ops {

class Linear {
 public:
  // W[p, j] = w[p * row_stride + j * column_stride], of `inputs` rows and `outputs` columns.
  Linear(const float* w, int64_t row_stride, int64_t column_stride, int64_t inputs, int64_t outputs);

  int64_t inputs() const { return inputs_; }
  int64_t outputs() const { return outputs_; }

  // y[i] = x[i] W + (accumulate ? y[i] : bias, or zero), for `rows` rows of float32 at strides. Rows of x may overlap.
  void apply(const Run& run, const float* x, int64_t x_stride, int64_t rows, const float* bias, bool accumulate,
             float* y, int64_t y_stride) const;

 private:
  int64_t inputs_;
  int64_t outputs_;
  std::vector<float> packed_;
};

}  // namespace sl::ops
