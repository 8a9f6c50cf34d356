// Comparisons for the contract: the first difference, and the largest one.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_COMPARE_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_COMPARE_H_

#include <string>

#include "testing/tensor.h"

namespace sl::testing {

struct Tolerance {
  double relative = 1e-5;
  double absolute = 1e-5;
};

struct Comparison {
  std::string reason;  // empty if both are equal
  double largest = 0;  // largest difference of two compared values

  bool ok() const { return reason.empty(); }
};

// Compares dtype, channel shape, masks, and values at valid steps within the tolerance. The shorter
// sequence counts as padded with invalid steps. Integers and bools are compared exactly; NaN equals
// NaN. Values at invalid steps are not compared: those of `got` may be unset.
Comparison compare_sequences(const Tensor& got, const Tensor& want, Tolerance tolerance);

// Compares as compare_sequences does, but lengths must be equal too. Tensors without a mask are
// compared everywhere.
Comparison compare_tensors(const Tensor& got, const Tensor& want, Tolerance tolerance);

// Requires equal shapes, equal masks and equal bits at valid steps.
Comparison compare_bits(const Tensor& got, const Tensor& want);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_COMPARE_H_
