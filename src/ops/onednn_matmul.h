// Matrix products by oneDNN, with weights in the layout that it likes best. For layer-wise runs
// alone: executing a primitive allocates.
#pragma once

#include <cstdint>
#include <memory>

namespace sl::ops {

class OneDnnMatmul {
 public:
  // W [inputs, outputs], row-major. Null if there is no oneDNN, or if it cannot do it.
  static std::unique_ptr<OneDnnMatmul> create(const float* w, int64_t inputs, int64_t outputs);
  ~OneDnnMatmul();

  // y[i] = x[i] W + (accumulate ? y[i] : bias, or zero). Rows of x and y are dense. Runs on the
  // calling thread. False, with y as it was, if oneDNN cannot do it.
  bool apply(const float* x, int64_t rows, const float* bias, bool accumulate,
             float* y) const noexcept;

  // Whether this CPU has instructions for which oneDNN is expected to beat the own kernels, and
  // oneDNN is there to use them.
  static bool preferred();

 private:
  struct Weights;
  explicit OneDnnMatmul(std::unique_ptr<Weights> weights);

  std::unique_ptr<Weights> weights_;
};

}  // namespace sl::ops
