// Products by OpenBLAS, which is loaded at its first use as oneDNN is: see openblas_matmul.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/external_matmul.h"

namespace sl::ops {

class OpenBlasMatmul final : public ExternalMatmul {
 public:
  // Keeps W [inputs, outputs], row-major. Null if OpenBLAS is missing.
  static std::unique_ptr<ExternalMatmul> create(std::vector<float> w, int64_t inputs,
                                                int64_t outputs);

  bool apply(const float* x, int64_t rows, const float* bias, bool accumulate,
             float* y) const noexcept override;

 private:
  OpenBlasMatmul(std::vector<float> w, int64_t inputs, int64_t outputs)
      : w_(std::move(w)), inputs_(inputs), outputs_(outputs) {}

  std::vector<float> w_;
  int64_t inputs_, outputs_;
};

}  // namespace sl::ops
