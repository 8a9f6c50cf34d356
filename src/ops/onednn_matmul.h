// Y = X W + bias by oneDNN, for X [rows, inputs], W [inputs, outputs], Y [rows, outputs], with
// weights in the layout that oneDNN prefers. Only for layer-wise runs, because executing a
// primitive allocates.
#pragma once

#include <cstdint>
#include <memory>

namespace sl::ops {

class OneDnnMatmul {
 public:
  // Packs W [inputs, outputs], row-major. Null if oneDNN is missing or does not support the
  // product.
  static std::unique_ptr<OneDnnMatmul> create(const float* w, int64_t inputs, int64_t outputs);
  ~OneDnnMatmul();

  // y[i] = x[i] W + (accumulate ? y[i] : bias ? bias : 0) for contiguous x and y, on the calling
  // thread. Returns false and leaves y unchanged if oneDNN cannot compute it.
  bool apply(const float* x, int64_t rows, const float* bias, bool accumulate,
             float* y) const noexcept;

  // Whether oneDNN is available and expected to be faster on this CPU than the library's own
  // kernels.
  static bool preferred();

 private:
  struct Weights;
  explicit OneDnnMatmul(std::unique_ptr<Weights> weights);

  std::unique_ptr<Weights> weights_;
};

}  // namespace sl::ops
