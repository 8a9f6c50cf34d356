// Products with a constant matrix, packed once.
#pragma once

#include <cstdint>
#include <memory>

#include "core/allocator.h"
#include "core/run.h"

namespace sl::ops {

// Who does large layer-wise products. By default oneDNN on CPUs where it is expected to be faster;
// tests and benchmarks set one.
enum class MatmulBackend { kDefault, kOwn, kOneDnn };
void set_matmul_backend(MatmulBackend backend);

class Linear {
 public:
  // W[p, j] = w[p * row_stride + j * column_stride], of `inputs` rows and `outputs` columns.
  Linear(const float* w, int64_t row_stride, int64_t column_stride, int64_t inputs,
         int64_t outputs);
  Linear(Linear&&) noexcept;
  ~Linear();

  int64_t inputs() const { return inputs_; }
  int64_t outputs() const { return outputs_; }

  // y[i] = x[i] W + (accumulate ? y[i] : bias, or zero), for `rows` rows of float32 at strides.
  // Rows of x may overlap.
  void apply(const Run& run, const float* x, int64_t x_stride, int64_t rows, const float* bias,
             bool accumulate, float* y, int64_t y_stride) const;
  // Outputs [begin, end) alone, with the same sums, on the calling thread. Both are multiples of
  // kernels::column_group(), or end is outputs(). bias and y are those of output 0.
  void apply_columns(const float* x, int64_t x_stride, int64_t rows, int64_t begin, int64_t end,
                     const float* bias, bool accumulate, float* y, int64_t y_stride) const;

 private:
  // oneDNN's copy of the weights, made by the first run that wants it; none if it cannot make one.
  struct OneDnn;

  const float* packed() const { return reinterpret_cast<const float*>(packed_.data()); }
  bool use_onednn(const Run& run, int64_t x_stride, int64_t rows, int64_t y_stride) const;

  int64_t inputs_;
  int64_t outputs_;
  Block packed_;  // floats
  std::unique_ptr<OneDnn> onednn_;
};

}  // namespace sl::ops
