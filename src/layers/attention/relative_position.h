// The field "relative_position_embedding": a bias on attention scores that depends on the distance
// from query to key (reference: common.RelativePositionEmbedding).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/config.h"
#include "layers/weights.h"
#include "ops/attention.h"

namespace sl {

// The bias as computed from the weights. Vectors that a type does not use are empty.
struct RelativePosition {
  int64_t minimum = 0;  // minimum distance, which is the key's step minus the query's
  int64_t maximum = 0;
  std::vector<float> table;  // [table_heads, distances]
  int64_t table_heads = 0;
  std::vector<float> embeddings;  // [heads, distances, width], multiplied with queries
  bool takes_scaled_queries = false;
  // [heads, units], added to scaled queries before products with keys.
  std::vector<float> query_offset;
  std::vector<float> bias_offset;     // [heads, units], added before products with embeddings
  std::optional<DType> query_dtype;   // dtype of queries for embeddings, if not the layer's
  std::optional<DType> result_dtype;  // dtype of the bias, if not the layer's
};

class RelativePositionFields {
 public:
  virtual ~RelativePositionFields() = default;
  // Whether the embedding needs a window of fixed size; otherwise it is a bias on scores of any
  // window.
  virtual bool needs_fixed_window() const { return false; }
  virtual RelativePosition make(const ops::Heads& heads, const ops::Horizon& horizon,
                                const WeightScope& weights) const = 0;
};

// Reads the field; null if it is null. Fails unless the embedding has the given heads.
std::unique_ptr<RelativePositionFields> read_relative_position(Config& config,
                                                               const ops::Heads& heads);

// The readers of the types, each in its own file.
std::unique_ptr<RelativePositionFields> read_shaw(Config& config, const ops::Heads& heads);
std::unique_ptr<RelativePositionFields> read_t5(Config& config, const ops::Heads& heads);
std::unique_ptr<RelativePositionFields> read_transformer_xl(Config& config,
                                                            const ops::Heads& heads);
// Helpers for all types: check_heads fails unless num_heads and units_per_head are those of the
// layer; by_head arranges embeddings [distances, heads, units] as [heads, distances, width].
void check_heads(Config& config, const ops::Heads& heads);
std::vector<float> by_head(const std::vector<float>& embeddings, int64_t distances,
                           const ops::Heads& heads);

}  // namespace sl
