// Products by oneDNN, with weights in the layout that oneDNN prefers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/external_matmul.h"

namespace sl::ops {

class OneDnnMatmul final : public ExternalMatmul {
 public:
  // Packs W [inputs, outputs], row-major. Null if oneDNN is missing or does not support the
  // product.
  static std::unique_ptr<ExternalMatmul> create(std::vector<float> w, int64_t inputs,
                                                int64_t outputs);
  ~OneDnnMatmul() override;

  bool apply(const float* x, int64_t rows, const float* bias, bool accumulate,
             float* y) const noexcept override;

 private:
  struct Weights;
  explicit OneDnnMatmul(std::unique_ptr<Weights> weights);

  std::unique_ptr<Weights> weights_;
};

}  // namespace sl::ops
