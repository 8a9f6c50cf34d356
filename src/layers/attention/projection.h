// The projections of attention layers to queries, keys and values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "layers/weights.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace sl {

// Several dense layers on the same input, computed as one product with their outputs side by side.
class StackedDense {
 public:
  struct Part {
    std::string name;
    Shape outputs;
  };
  StackedDense(const std::vector<Part>& parts, bool use_bias, std::optional<DType> compute_dtype,
               const WeightScope& weights);

  int64_t inputs() const { return linear_.inputs(); }
  int64_t outputs() const { return linear_.outputs(); }
  // Returns the outputs [steps, outputs], rounded to `compute`, in scratch.
  const float* apply(Run& run, const Sequence& x, DType compute) const;
  // Returns the outputs as rows of these heads, [steps, outputs / units, row_units].
  const float* rows(Run& run, const Sequence& x, DType compute, const ops::Heads& heads) const;

 private:
  struct Weights {
    ops::Linear linear;
    std::vector<float> bias;
  };
  StackedDense(Weights weights)
      : linear_(std::move(weights.linear)), bias_(std::move(weights.bias)) {}
  static Weights read(const std::vector<Part>& parts, bool use_bias,
                      std::optional<DType> compute_dtype, const WeightScope& weights);

  void count_bias(const Run& run, const Sequence& x) const;

  ops::Linear linear_;
  std::vector<float> bias_;
};

// The field "input_projection" (reference: common.QueryKeyValueProjectionConfig).
struct InputProjection {
  enum class Kind { kCombined, kSeparate, kQueryAndKeyValue, kQueryAndSharedKeyValue };

  // Cross-attention does not accept the combined projection.
  explicit InputProjection(Config& config, bool is_cross = false);

  // The dense layers for queries, and those for keys and values. A combined projection has all
  // three in `queries`.
  std::vector<StackedDense::Part> queries(const ops::Heads& heads) const;
  std::vector<StackedDense::Part> keys_and_values(const ops::Heads& heads) const;
  bool is_combined() const { return kind == Kind::kCombined; }

  Kind kind = Kind::kCombined;
  bool shares_keys_and_values = false;  // values are the same as keys
};

}  // namespace sl
