// StyleToken: each step attends to a bank of learned vectors with additive scores, by head
// (reference: examples.global_style_token.StyleToken).
#include <algorithm>
#include <complex>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/pointwise.h"
#include "kernels/reduce.h"
#include "layers/builder.h"
#include "layers/dense/shaped_dense.h"
#include "ops/complex_functions.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace sl {
namespace {

class StyleToken final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : tokens(config.integer("num_style_tokens", 1)),
          heads(config.integer("num_heads", 1)),
          units(config.integer("units_per_head", 1)),
          compute_dtype(config.optional_dtype("compute_dtype")),
          param_dtype(config.dtype("param_dtype", DType::kFloat32)) {
      for (const auto& [field, size] :
           {std::pair("num_style_tokens", tokens), std::pair("num_heads", heads),
            std::pair("units_per_head", units)}) {
        if (size > kMax) config.error(field, "expected at most 2^20");
      }
      config.ignore({"style_tokens_init", "style_token_keys_init", "precision"});
    }
    // The dtype of the weights of the logits in the computation.
    DType logit_param_dtype() const { return compute_dtype.value_or(param_dtype); }
    static constexpr int64_t kMax = int64_t{1} << 20;  // so that a product of sizes fits 64 bits
    int64_t tokens;
    int64_t heads;
    int64_t units;
    std::optional<DType> compute_dtype;
    DType param_dtype;
  };

  StyleToken(Fields fields, const Init& init)
      : fields_(fields),
        queries_(init.weights.child("query_projection"), {fields.heads, 1, fields.units}, true,
                 std::nullopt, fields.param_dtype, fields.compute_dtype),
        keys_(parameter(init.weights, "style_token_keys",
                        {1, 1, fields.heads, fields.tokens, fields.units}, fields.param_dtype)),
        logit_kernel_(parameter(init.weights.child("to_logits"), "kernel", {fields.units, 1},
                                fields.logit_param_dtype())),
        logit_bias_(
            parameter(init.weights.child("to_logits"), "bias", {1}, fields.logit_param_dtype())[0]),
        tokens_(init.weights.matrix("style_tokens", {fields.tokens, fields.units},
                                    {.rounded = fields.param_dtype})) {}

  std::optional<ChannelSpec> implied_input() const override {
    return ChannelSpec{DType::kFloat32, queries_.implied_input()};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return {output_dtype(queries_.output_spec(input).dtype), {fields_.heads, fields_.units}};
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const DType dtype = output_dtype(queries_.output_spec(x.spec()).dtype);
    const Sequence y = run.output_like(x, {dtype, {fields_.heads, fields_.units}});
    const Sequence queries = run.on_side(other(run.side()), [&] { return queries_.apply(run, x); });
    if (dtype == DType::kComplex64) {
      attend_complex(run, queries.as<const complex64>(), y);
      return y;
    }
    const float* values = ops::as_floats(run, queries, queries.dtype);
    const int64_t rows = x.steps() * fields_.heads, hidden = fields_.tokens * fields_.units;
    auto* shares = run.scratch<float>(rows, fields_.tokens);
    const int64_t grain = std::max<int64_t>(1, kGrain / hidden);
    ops::for_ranges_with_scratch(
        run, rows, grain, hidden, [&](int64_t begin, int64_t end, float* scratch) {
          for (int64_t row = begin; row < end; ++row) {
            share(values + row * fields_.units, queries.dtype, row % fields_.heads, scratch,
                  shares + row * fields_.tokens);
          }
        });
    tokens_.apply(run, shares, fields_.tokens, rows, nullptr, false, y.floats(), fields_.units);
    const DType logits = logit_dtype(queries.dtype);
    ops::round_to(promote(logits, fields_.param_dtype), y.floats(), rows * fields_.units);
    return y;
  }

  static DType output_dtype(DType queries) {
    return queries == DType::kComplex64 ? queries : DType::kFloat32;
  }

  void attend_complex(Run& run, const complex64* queries, const Sequence& y) const {
    const int64_t units = fields_.units, tokens = fields_.tokens, heads = fields_.heads;
    const int64_t rows = y.steps() * heads;
    auto* shares = run.scratch<complex64>(tokens);
    auto* parts = run.scratch<float>(2, rows, tokens);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t s = 0; s < tokens; ++s) {
        const float* key = keys_.data() + (row % heads * tokens + s) * units;
        std::complex<double> logit = static_cast<double>(logit_bias_);
        for (int64_t u = 0; u < units; ++u) {
          const complex64 hidden =
              ops::complex_unary(kernels::Unary::kTanh, queries[row * units + u] + key[u], 0);
          logit += std::complex<double>(hidden) *
                   static_cast<double>(logit_kernel_[static_cast<size_t>(u)]);
        }
        shares[s] = static_cast<complex64>(logit);
      }
      ops::activate(shares, tokens, {.over_row = RowFunction::kSoftmax});
      for (int64_t s = 0; s < tokens; ++s) {
        parts[row * tokens + s] = shares[s].real();
        parts[(rows + row) * tokens + s] = shares[s].imag();
      }
    }
    auto* sums = run.scratch<float>(2, rows, units);
    tokens_.apply(run, parts, tokens, 2 * rows, nullptr, false, sums, units);
    for (int64_t i = 0; i < rows * units; ++i)
      y.as<complex64>()[i] = {sums[i], sums[rows * units + i]};
  }

  static constexpr int64_t kGrain = 16384;  // enough elements to be worth waking a thread

  DType hidden_dtype(DType queries) const { return promote(queries, fields_.param_dtype); }
  DType logit_dtype(DType queries) const {
    return fields_.compute_dtype.value_or(hidden_dtype(queries));
  }

  // The weight of each token for the query of one head. `hidden` is scratch for tokens * units.
  void share(const float* query, DType queries, int64_t head, float* hidden, float* shares) const {
    const int64_t units = fields_.units, tokens = fields_.tokens;
    const float* keys = keys_.data() + head * tokens * units;
    for (int64_t s = 0; s < tokens; ++s) {
      kernels::binary(kernels::Binary::kAdd, query, keys + s * units, hidden + s * units, units);
    }
    const DType dtype = hidden_dtype(queries), logits = logit_dtype(queries);
    ops::round_to(dtype, hidden, tokens * units);
    ops::activate(hidden, tokens * units, {kernels::Unary::kTanh}, dtype);
    ops::round_to(logits, hidden, tokens * units);
    for (int64_t s = 0; s < tokens; ++s)
      shares[s] = kernels::dot(hidden + s * units, logit_kernel_.data(), units);
    ops::round_to(logits, shares, tokens);
    kernels::binary_scalar(kernels::Binary::kAdd, shares, logit_bias_, shares, tokens);
    ops::round_to(logits, shares, tokens);
    kernels::softmax(shares, shares, tokens);
    ops::round_to(logits, shares, tokens);
  }

  static std::vector<float> parameter(const WeightScope& weights, const char* name,
                                      const Shape& shape, DType dtype) {
    std::vector<float> out = weights.floats(name, shape);
    ops::round_to(dtype, out.data(), static_cast<int64_t>(out.size()));
    return out;
  }

  Fields fields_;
  ShapedDense queries_;
  std::vector<float> keys_;  // [heads, tokens, units]
  std::vector<float> logit_kernel_;
  float logit_bias_;
  ops::Linear tokens_;
};

SL_REGISTER_LAYER(StyleToken);

}  // namespace
}  // namespace sl
