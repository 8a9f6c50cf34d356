#include "layers/conditioning/mixing.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "layers/shape/shape_field.h"
#include "ops/combine.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"

namespace sl {
namespace {

size_t required_choice(Config& config, const char* field, const std::vector<std::string>& names) {
  config.string(field);
  return config.choice(field, names, 0);
}

// The dtype of scale + offset. The offset is a number without a dtype of its own.
DType offset_dtype(DType scale, const Array& offset) {
  return offset.is_complex ? DType::kComplex64 : scale;
}

// Repeats c over batch and time where its size is 1.
Sequence spread(Run& run, const Sequence& c, const Sequence& x) {
  if (c.batch == x.batch && c.time == x.time) return c;
  const Sequence out = run.scratch_sequence(c.spec(), x.batch, x.time);
  for (int64_t b = 0; b < x.batch; ++b) {
    for (int64_t t = 0; t < x.time; ++t) {
      const int64_t from_b = c.batch == 1 ? 0 : b, from_t = c.time == 1 ? 0 : t;
      std::memcpy(out.frame(b, t), c.frame(from_b, from_t), c.frame_bytes());
      *out.mask_at(b, t) = *c.mask_at(from_b, from_t);
    }
  }
  return out;
}

// Copies half `index` of the frames of a projection: its scale or its shift.
Sequence half(Run& run, const Sequence& c, int64_t index) {
  const Shape each = c.channels.slice(1, c.channels.rank());
  const Sequence out = run.scratch_sequence({c.dtype, each}, c.batch, c.time);
  ops::StridedView view = ops::dense_view(each);
  view.offset = index * each.size();
  ops::gather_steps(run, c, view, out.values);
  std::memcpy(out.mask, c.mask, static_cast<size_t>(c.steps()));
  return out;
}

Sequence combine_two(Run& run, ops::Combination combination, const Sequence& a, const Sequence& b) {
  const Sequence inputs[2] = {a, b};
  return ops::combine(run, combination, inputs);
}

ChannelSpec combined(ops::Combination combination, const ChannelSpec& a, const ChannelSpec& b) {
  const std::array<ChannelSpec, 2> specs = {a, b};
  return ops::combined_spec(combination, specs);
}

}  // namespace

Mixing::Fields::Fields(Config& config, const std::vector<std::string>& combinations)
    : projection(static_cast<Projection>(
          required_choice(config, "projection", {"identity", "linear", "linear_affine"}))),
      kind(static_cast<Kind>(required_choice(config, "combination", combinations))) {
  offset.values = {1};
  const auto expect = [&](bool good, const char* expected) {
    if (good) return;
    config.error("projection", fmt::format("expected \"{}\" with this combination", expected));
  };
  const bool is_linear = projection == Projection::kLinear;
  const bool is_affine = projection == Projection::kLinearAffine;
  if (kind == Kind::kAffine) {
    expect(is_affine, "linear_affine");
  } else if (kind == Kind::kAffineShift || kind == Kind::kAffineScale) {
    expect(is_linear, "linear");
  } else {
    expect(!is_affine, "identity\" or \"linear");
  }
}

void Mixing::Fields::read_projection(Config& config) {
  const auto sizes = config.optional_integers("projection_channel_shape");
  if (sizes) projected = to_shape(config, "projection_channel_shape", *sizes, 1);
  config.note("affine_scale_offset", "number", "1");
  if (config.raw("affine_scale_offset")) {
    offset = config.array("affine_scale_offset");
    if (!offset.shape.empty()) config.error("affine_scale_offset", "expected one number");
  }
  config.ignore({"kernel_init", "kernel_sharding", "bias_init", "bias_sharding"});
}

Mixing::Mixing(Fields fields, const WeightScope& weights)
    : fields_(std::move(fields)), offset_(fields_.offset) {
  if (fields_.projection == Projection::kIdentity) return;
  const WeightScope dense = weights.child("dense");
  dense_.emplace(dense, projected_shape(dense), /*use_bias=*/true, std::nullopt,
                 fields_.param_dtype, fields_.compute_dtype);
}

// The output shape of the projection. If the config leaves it to the input, the bias has it.
Shape Mixing::projected_shape(const WeightScope& weights) const {
  if (!fields_.projected) return weights.get_any("bias").shape;
  Shape shape = *fields_.projected;
  if (fields_.projection == Projection::kLinearAffine) shape.insert(0, 2);
  return shape;
}

ConstantSpec Mixing::constant() const {
  ConstantSpec spec;
  spec.name = fields_.constant;
  // A kernel with one input channel takes scalar channels too, so only others imply the channels.
  if (dense_ && dense_->implied_input() != Shape{1}) spec.channels = dense_->implied_input();
  return spec;
}

ChannelSpec Mixing::projected_spec(const ChannelSpec& x, const ChannelSpec& constant) const {
  if (!dense_) return constant;
  ChannelSpec out = dense_->output_spec(constant);
  if (fields_.projected) return out;
  Shape wanted = x.shape;
  if (fields_.projection == Projection::kLinearAffine) wanted.insert(0, 2);
  const Shape expected = wanted.empty() ? Shape{1} : wanted;
  if (expected != out.shape) {
    fail(Code::kShape, "input {}: the projection's bias is {}: expected {}", to_string(x),
         to_string(out.shape), to_string(expected));
  }
  return {out.dtype, wanted};
}

ChannelSpec Mixing::output_spec(const ChannelSpec& x, const ChannelSpec& constant) const {
  using Combination = ops::Combination;
  const ChannelSpec c = projected_spec(x, constant);
  const ChannelSpec scale{offset_dtype(c.dtype, fields_.offset), c.shape};
  switch (fields_.kind) {
    case Kind::kConcat:
      return combined(Combination::kConcat, x, c);
    case Kind::kConcatBefore:
      return combined(Combination::kConcat, c, x);
    case Kind::kMultiply:
      return combined(Combination::kProduct, x, c);
    case Kind::kAffineScale:
      return combined(Combination::kProduct, x, scale);
    case Kind::kAffine: {
      const Shape each = c.shape.slice(1, c.shape.rank());
      return combined(Combination::kPlus, combined(Combination::kProduct, x, {scale.dtype, each}),
                      {c.dtype, each});
    }
    default:
      return combined(Combination::kAdd, x, c);
  }
}

Sequence Mixing::project(Run& run, const ChannelSpec& x, const Sequence& constant) const {
  if (!dense_) return constant;
  const Sequence y = run.on_side(other(run.side()), [&] { return dense_->apply(run, constant); });
  return y.with_channels(projected_spec(x, constant.spec()).shape);
}

// Returns scale + offset. May overwrite `scale`, which must be scratch of the layer.
Sequence Mixing::with_offset(Run& run, const Sequence& scale) const {
  const DType dtype = offset_dtype(scale.dtype, fields_.offset);
  const Sequence out = dtype == scale.dtype ? scale : run.on_side(other(run.side()), [&] {
    return ops::cast(run, scale, dtype);
  });
  ops::broadcast_in_place(run, ops::Arithmetic::kAdd, out, offset_);
  return out;
}

Sequence Mixing::combine(Run& run, const Sequence& x, const Sequence& c) const {
  using Combination = ops::Combination;
  switch (fields_.kind) {
    case Kind::kConcat:
      return combine_two(run, Combination::kConcat, x, spread(run, c, x));
    case Kind::kConcatBefore:
      return combine_two(run, Combination::kConcat, spread(run, c, x), x);
    case Kind::kMultiply:
      return combine_two(run, Combination::kProduct, x, spread(run, c, x));
    case Kind::kAffineScale:
      return combine_two(run, Combination::kProduct, x, spread(run, with_offset(run, c), x));
    case Kind::kAffine: {
      const Sequence scale = spread(run, with_offset(run, half(run, c, 0)), x);
      const Sequence scaled = run.on_side(
          other(run.side()), [&] { return combine_two(run, Combination::kProduct, x, scale); });
      return combine_two(run, Combination::kPlus, scaled, spread(run, half(run, c, 1), x));
    }
    default:
      return combine_two(run, Combination::kAdd, x, spread(run, c, x));
  }
}

void copy_steps(const Sequence& whole, int64_t begin, const Sequence& out) {
  const int64_t first = std::min(begin, whole.time);
  const int64_t there = std::min(out.time, whole.time - first);
  const size_t bytes = static_cast<size_t>(there) * whole.frame_bytes();
  if (there > 0) {
    std::memcpy(out.values, whole.frame(0, first), bytes);
    std::memcpy(out.mask, whole.mask_at(0, first), static_cast<size_t>(there));
  }
  const auto rest = static_cast<size_t>(out.time - there);
  std::memset(out.values + bytes, 0, rest * whole.frame_bytes());
  std::memset(out.mask + there, 0, rest);
}

}  // namespace sl
