#include "layers/attention/projection.h"

#include <algorithm>
#include <utility>

#include "kernels/pointwise.h"
#include "ops/elementwise.h"

namespace sl {

StackedDense::Weights StackedDense::read(const std::vector<Part>& parts, bool use_bias,
                                         std::optional<DType> compute_dtype,
                                         const WeightScope& weights) {
  std::vector<MatrixPart> kernels;
  std::vector<float> bias;
  for (const Part& part : parts) {
    Shape shape = part.outputs;
    shape.insert(0, kAnySize);
    kernels.push_back({part.name + ".kernel", shape});
    if (!use_bias) continue;
    const std::vector<float> own = weights.child(part.name).floats("bias", part.outputs);
    bias.insert(bias.end(), own.begin(), own.end());
  }
  if (compute_dtype) ops::round_to(*compute_dtype, bias.data(), static_cast<int64_t>(bias.size()));
  return {weights.matrix(kernels, {.rounded = compute_dtype}), std::move(bias)};
}

StackedDense::StackedDense(const std::vector<Part>& parts, bool use_bias,
                           std::optional<DType> compute_dtype, const WeightScope& weights)
    : StackedDense(read(parts, use_bias, compute_dtype, weights)) {}

void StackedDense::count_bias(const Run& run, const Sequence& x) const {
  if (!bias_.empty()) run.parallel().count(x.steps() * outputs());
}

const float* StackedDense::apply(Run& run, const Sequence& x, DType compute) const {
  auto* y = run.scratch<float>(x.steps(), outputs());
  const bool halves = compute != DType::kFloat32;
  count_bias(run, x);
  linear_.apply(run, ops::as_floats(run, x, compute), inputs(), x.steps(),
                bias_.empty() || halves ? nullptr : bias_.data(), false, y, outputs());
  if (!halves) return y;
  ops::for_steps(run, x.steps(), outputs(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* const row = y + i * outputs();
      ops::round_to(compute, row, outputs());
      if (bias_.empty()) continue;
      kernels::binary(kernels::Binary::kAdd, row, bias_.data(), row, outputs());
      ops::round_to(compute, row, outputs());
    }
  });
  return y;
}

const float* StackedDense::rows(Run& run, const Sequence& x, DType compute,
                                const ops::Heads& heads) const {
  if (!heads.is_complex) return apply(run, x, compute);
  const int64_t size = x.steps() * outputs(), units = heads.units;
  const bool has_imaginary = compute == DType::kComplex64 && x.dtype == DType::kComplex64;
  const float* real = nullptr;
  const float* imaginary = nullptr;
  if (has_imaginary) {
    auto* both = run.scratch<float>(2, size);
    const float* parts = ops::real_parts(run, x);
    count_bias(run, x);
    linear_.apply(run, parts, inputs(), x.steps(), bias_.empty() ? nullptr : bias_.data(), false,
                  both, outputs());
    linear_.apply(run, parts + x.size(), inputs(), x.steps(), nullptr, false, both + size,
                  outputs());
    real = both;
    imaginary = both + size;
  } else {
    real = apply(run, x, is_float(compute) ? compute : DType::kFloat32);
  }
  auto* out = run.scratch<float>(2, size);
  for (int64_t i = 0; i < size; i += units) {
    std::copy_n(real + i, units, out + 2 * i);
    if (imaginary) {
      std::copy_n(imaginary + i, units, out + 2 * i + units);
    } else {
      std::fill_n(out + 2 * i + units, units, 0.0f);
    }
  }
  return out;
}

InputProjection::InputProjection(Config& config, bool is_cross)
    : kind(is_cross ? Kind::kQueryAndKeyValue : Kind::kCombined) {
  std::optional<Config> own = config.nested("input_projection");
  if (!own) return;
  std::vector<std::string> names = {"CombinedQueryKeyValueProjection",
                                    "SeparateQueryKeyValueProjection", "QueryAndKeyValueProjection",
                                    "QueryAndSharedKeyValueProjection"};
  if (is_cross) names.erase(names.begin());
  kind = static_cast<Kind>(own->choice("type", names, 0) + (is_cross ? 1 : 0));
  shares_keys_and_values = kind == Kind::kQueryAndSharedKeyValue;
  own->ignore({"einsum_factory", "quantization_provider"});
  switch (kind) {
    case Kind::kCombined:
      shares_keys_and_values = own->boolean("share_kv_projection", false);
      own->ignore({"qkv_kernel_init", "qkv_kernel_sharding", "bias_init", "bias_sharding"});
      break;
    case Kind::kSeparate:
      own->ignore({"q_kernel_init", "k_kernel_init", "v_kernel_init", "q_kernel_sharding",
                   "k_kernel_sharding", "v_kernel_sharding", "bias_init", "bias_sharding"});
      break;
    default:
      own->ignore({"q_kernel_init", "q_kernel_sharding", "q_bias_init", "q_bias_sharding",
                   "kv_kernel_init", "kv_kernel_sharding", "kv_bias_init", "kv_bias_sharding"});
  }
  own->finish();
}

std::vector<StackedDense::Part> InputProjection::queries(const ops::Heads& heads) const {
  if (!is_combined()) return {{"query_projection", {heads.count(), heads.units}}};
  return {
      {"query_key_value_projection", {shares_keys_and_values ? 2 : 3, heads.count(), heads.units}}};
}

std::vector<StackedDense::Part> InputProjection::keys_and_values(const ops::Heads& heads) const {
  switch (kind) {
    case Kind::kCombined:
      return {};
    case Kind::kSeparate:
      return {{"key_projection", {heads.kv, heads.units}},
              {"value_projection", {heads.kv, heads.units}}};
    case Kind::kQueryAndKeyValue:
      return {{"key_value_projection", {2, heads.kv, heads.units}}};
    default:
      return {{"shared_key_value_projection", {heads.kv, heads.units}}};
  }
}

}  // namespace sl
