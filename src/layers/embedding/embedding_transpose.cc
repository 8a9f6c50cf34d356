// EmbeddingTranspose: y = x table^T, the logits of an Embedding's rows (reference:
// simple.EmbeddingTranspose).
#include <optional>
#include <string>
#include <vector>

#include "layers/builder.h"
#include "layers/dense/einsum_layer.h"
#include "layers/embedding/embedding_fields.h"
#include "layers/embedding/packed_table.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class EmbeddingTranspose final : public EinsumLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : nested(read_embedding(config)),
          embedding(nested),
          use_bias(config.boolean("use_bias", true)),
          param_dtype(config.optional_dtype("param_dtype")),
          compute_dtype(config.optional_dtype("compute_dtype")) {
      nested.ignore({"name"});  // the reference always binds it as "embedding"
      nested.finish();
      config.note("embedding_path", "string or null", "null");
      if (config.raw("embedding_path")) path = config.string("embedding_path");
      if (param_dtype && !is_float(*param_dtype))
        config.error("param_dtype", "expected a float dtype");
      if (compute_dtype && !is_float(*compute_dtype))
        config.error("compute_dtype", "expected a float dtype");
      config.ignore({"bias_init", "bias_sharding"});
    }

    static Config read_embedding(Config& config) {
      Config nested = config.nested_required("embedding");
      if (nested.type() != "Embedding")
        config.error("embedding", fmt::format("expected an Embedding, got a {}", nested.type()));
      return nested;
    }

    Config nested;
    EmbeddingFields embedding;
    bool use_bias;
    std::optional<DType> param_dtype;
    std::optional<DType> compute_dtype;
    std::optional<std::string> path;
  };

  EmbeddingTranspose(Fields fields, const Init& init) : EinsumLayer(make(fields, init.weights)) {}

 private:
  static ops::Einsum make(const Fields& fields, const WeightScope& weights) {
    const WeightScope owner =
        fields.path ? weights.at_path(*fields.path) : weights.child("embedding");
    const Shape shape = fields.embedding.table_shape();
    const ops::Kernel table =
        owner.kernel(fields.embedding.param_name, shape, DType::kFloat32).real;
    const DType param_dtype = fields.param_dtype.value_or(fields.embedding.param_dtype);
    const Shape bias_shape = fields.use_bias ? Shape{shape[0]} : Shape{};
    const std::optional<DType> compute_dtype =
        fields.compute_dtype ? fields.compute_dtype : fields.embedding.compute_dtype;
    const ops::Kernel kernel = transposed_table(table, param_dtype, compute_dtype);
    TensorParts bias;
    bias.shape = bias_shape;
    if (fields.use_bias) bias.real = weights.floats("bias", bias_shape);
    return ops::Einsum({"a", "ba", "b", /*leading_axes=*/true}, {kernel, std::nullopt},
                       std::move(bias), std::nullopt, param_dtype, compute_dtype);
  }
};

SL_REGISTER_LAYER(EmbeddingTranspose);

}  // namespace
}  // namespace sl
