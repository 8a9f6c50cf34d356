// Comparisons of the contract: what differs first, and by how much at most.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_COMPARE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_COMPARE_H_

#include <string>

#include "cli/tensor.h"

namespace sl::cli {

struct Tolerance {
  double relative = 1e-5;
  double absolute = 1e-5;
};

struct Comparison {
  std::string reason;  // empty: equal
  double largest = 0;  // largest difference of two compared values

  bool ok() const { return reason.empty(); }
};

// Equal dtype and channel shape; both padded to the longer one with invalid steps: equal masks, and
// values equal within the tolerance at valid steps. Integers and bools are compared exactly; NaN
// equals NaN. `got` is finished at valid steps only, so invalid ones are not looked at.
Comparison compare_sequences(const Tensor& got, const Tensor& want, Tolerance tolerance);

// The same with equal lengths too; arrays are compared everywhere.
Comparison compare_tensors(const Tensor& got, const Tensor& want, Tolerance tolerance);

// Equal shapes, equal masks and the same bits at valid steps.
Comparison compare_bits(const Tensor& got, const Tensor& want);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_COMPARE_H_
