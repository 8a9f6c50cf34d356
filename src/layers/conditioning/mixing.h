// Projects a constant, if wanted, and combines it with x. Conditioning layers share this and differ
// in which step of the constant they combine with which step of x.
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
    // Reads "projection" and "combination"; `combinations` lists the accepted names in the order of
    // Kind.
    Fields(Config& config, const std::vector<std::string>& combinations);
    // Reads the name of the constant.
    void read_name(Config& config) { constant = config.string("conditioning_name"); }
    // Reads the fields of the projection that not all layers have.
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

  // The spec of the constant, as far as the weights imply it.
  ConstantSpec constant() const;
  // Fails with kShape if x and the constant do not fit.
  ChannelSpec output_spec(const ChannelSpec& x, const ChannelSpec& constant) const;
  // Projects the constant for an x of that spec.
  Sequence project(Run& run, const ChannelSpec& x, const Sequence& constant) const;
  // Combines x with c, a projected constant, whose batch and length are those of x or 1.
  Sequence combine(Run& run, const Sequence& x, const Sequence& c) const;

 private:
  Shape projected_shape(const WeightScope& weights) const;
  ChannelSpec projected_spec(const ChannelSpec& x, const ChannelSpec& constant) const;
  Sequence with_offset(Run& run, const Sequence& scale) const;

  Fields fields_;
  ops::BroadcastOperand offset_;
  std::optional<ShapedDense> dense_;
};

// Copies steps of `whole` from `begin` on to `out`, each of one batch item. Steps after the end are
// invalid.
void copy_steps(const Sequence& whole, int64_t begin, const Sequence& out);

// Copies `count` steps of each item from begin(item) on to scratch. Steps after the end are
// invalid.
template <typename Begin>
Sequence take_steps(Run& run, const Sequence& whole, int64_t count, Begin&& begin) {
  const Sequence out = run.scratch_sequence(whole.spec(), whole.batch, count);
  for (int64_t b = 0; b < whole.batch; ++b)
    copy_steps(whole.items(b, 1), begin(b), out.items(b, 1));
  return out;
}

}  // namespace sl
