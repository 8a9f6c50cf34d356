// The fields of an Embedding, for all layers that use its table.
#pragma once

#include <optional>
#include <string>

#include "core/config.h"

namespace sl {

struct EmbeddingFields {
  explicit EmbeddingFields(Config& config)
      : dimension(config.integer("dimension", 1)),
        num_embeddings(config.integer("num_embeddings", 1)),
        param_dtype(config.dtype("param_dtype", DType::kFloat32)),
        compute_dtype(config.optional_dtype("compute_dtype")),
        param_name(config.string("embedding_param_name", "embedding")) {
    if (!is_float(param_dtype)) config.error("param_dtype", "expected a float dtype");
    if (compute_dtype && !is_float(*compute_dtype))
      config.error("compute_dtype", "expected a float dtype");
    config.ignore({"embedding_init", "embedding_sharding"});
  }

  Shape table_shape() const { return {num_embeddings, dimension}; }

  int64_t dimension;
  int64_t num_embeddings;
  DType param_dtype;
  std::optional<DType> compute_dtype;
  std::string param_name;
};

}  // namespace sl
