// Y = X W + bias with a constant W [inputs, outputs] that is packed; X [rows, inputs].
#pragma once

#include <cstdint>
#include <memory>

#include "core/run.h"
#include "ops/panels.h"

namespace sl::ops {

class ExternalMatmul;

class Linear {
 public:
  // The matrix of an index of packed ones.
  explicit Linear(Panels panels, int64_t index = 0);
  // Packs W[p, j] = w[p * row_stride + j * column_stride], [inputs, outputs], as float32.
  Linear(const float* w, int64_t row_stride, int64_t column_stride, int64_t inputs,
         int64_t outputs);
  Linear(Linear&&) noexcept;
  ~Linear();

  int64_t inputs() const { return panels_.sizes().inputs; }
  int64_t outputs() const { return panels_.sizes().outputs; }
  WeightFormat format() const { return panels_.format(); }
  int64_t bytes() const { return bytes_; }

  // y[i] = x[i] W + (accumulate ? y[i] : bias ? bias : 0) for `rows` rows of float32. Rows of x may
  // overlap.
  void apply(const Run& run, const float* x, int64_t x_stride, int64_t rows, const float* bias,
             bool accumulate, float* y, int64_t y_stride) const;
  // The packed weights (kernels/gemm.h), for kernels that do more than multiply with them; null if
  // they are not float32.
  const float* floats() const {
    return format() == WeightFormat::kFloat32 && !panels_.records() ? panels_.floats(index_)
                                                                    : nullptr;
  }
  // Counts the work of a product that such a kernel makes.
  void count(const Run& run, int64_t rows) const {
    run.parallel().count(2 * rows * inputs() * outputs(), bytes_);
  }
  // Computes only outputs [begin, end), bit for bit as `apply` does, on the calling thread. `begin`
  // must be a multiple of kernels::column_group(), `end` one or outputs(). bias and y point to
  // output 0.
  void apply_columns(const float* x, int64_t x_stride, int64_t rows, int64_t begin, int64_t end,
                     const float* bias, bool accumulate, float* y, int64_t y_stride) const;

 private:
  // Copies of the weights for other back ends, made by the first run that needs them.
  struct Copies;

  // The other back end that computes a product; null: the library's own kernels do.
  const ExternalMatmul* external(const Run& run, int64_t x_stride, int64_t y_stride) const;

  Panels panels_;
  int64_t index_;  // of the matrix within the panels
  int64_t bytes_;  // of the matrix
  std::unique_ptr<Copies> copies_;
};

}  // namespace sl::ops
