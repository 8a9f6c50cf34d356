// How a constant conditions x: projected before if wanted, then combined with it. What the layers
// share that differ in which step of the constant goes with which of x.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "layers/builder.h"
#include "layers/dense/shaped_dense.h"
#include "ops/broadcast.h"

namespace sl {

class Mixing {
 public:
  enum class Projection { kIdentity, kLinear, kLinearAffine };
  enum class Kind { kAdd, kConcat, kAffine, kAffineShift, kAffineScale, kMultiply, kConcatBefore };

  struct Fields {
    // Reads "projection" and "combination", one of `combinations`, which are in the order of Kind.
    Fields(Config& config, const std::vector<std::string>& combinations);
    // And the constant's name.
    void read_name(Config& config) { constant = config.string("conditioning_name"); }
    // And the fields of projection that not all layers have.
    void read_projection(Config& config);

    std::string constant;
    Projection projection;
    Kind kind;
    std::optional<Shape> projected;
    DType param_dtype = DType::kFloat32;
    std::optional<DType> compute_dtype;
    Array offset;
  };

  Mixing(Fields fields, const WeightScope& weights);

  // The constant, as far as the weights tell of it.
  ConstantSpec constant() const;
  // Fails with kShape if the two do not fit.
  ChannelSpec output_spec(const ChannelSpec& x, const ChannelSpec& constant) const;
  // The constant as it is combined with an x of that spec.
  Sequence project(Run& run, const ChannelSpec& x, const Sequence& constant) const;
  // x and c, a projected constant of x's length; one batch item or step of it goes with all of x's.
  Sequence combine(Run& run, const Sequence& x, const Sequence& c) const;

 private:
  Shape projected_shape(const WeightScope& weights) const;
  ChannelSpec projected_spec(const ChannelSpec& x, const ChannelSpec& constant) const;
  Sequence with_offset(Run& run, const Sequence& scale) const;

  Fields fields_;
  ops::BroadcastOperand offset_;
  std::optional<ShapedDense> dense_;
};

// The steps of one item from `begin` on into another; those after the end are invalid.
void copy_steps(const Sequence& whole, int64_t begin, const Sequence& out);

// `count` steps of each item of a sequence from begin(item) on, in scratch; those after the end are
// invalid.
template <typename Begin>
Sequence take_steps(Run& run, const Sequence& whole, int64_t count, Begin&& begin) {
  const Sequence out = run.scratch_sequence(whole.spec(), whole.batch, count);
  for (int64_t b = 0; b < whole.batch; ++b)
    copy_steps(whole.items(b, 1), begin(b), out.items(b, 1));
  return out;
}

}  // namespace sl
