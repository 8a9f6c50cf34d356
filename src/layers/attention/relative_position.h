// Field `relative_position_embedding`: what attention scores gain by the distance from query to key
// (reference: common.RelativePositionEmbedding).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/config.h"
#include "layers/weights.h"
#include "ops/attention.h"

namespace sl {

// As weights make it. Vectors are empty where there is nothing of the kind.
struct RelativePosition {
  int64_t least = 0;  // distances, the key's step minus the query's
  int64_t most = 0;
  std::vector<float> table;  // [table_heads, distances]
  int64_t table_heads = 0;
  std::vector<float> embeddings;  // [heads, distances, width], to be multiplied with queries
  bool takes_scaled_queries = false;
  std::vector<float> query_offset;    // [heads, units], added to scaled queries that meet keys
  std::vector<float> bias_offset;     // and to those that meet embeddings
  std::optional<DType> query_dtype;   // of queries that meet embeddings, if not the layer's
  std::optional<DType> result_dtype;  // of what is added
};

class RelativePositionFields {
 public:
  virtual ~RelativePositionFields() = default;
  // Attention whose past and future steps are fixed, or without: only then is it a bias on scores.
  virtual bool needs_fixed_window() const { return false; }
  virtual RelativePosition make(const ops::Heads& heads, const ops::Horizon& horizon,
                                const WeightScope& weights) const = 0;
};

// Null if the field is. `heads` are those that the embedding must have.
std::unique_ptr<RelativePositionFields> read_relative_position(Config& config,
                                                               const ops::Heads& heads);

// The types there are, each in its own file.
std::unique_ptr<RelativePositionFields> read_shaw(Config& config, const ops::Heads& heads);
std::unique_ptr<RelativePositionFields> read_t5(Config& config, const ops::Heads& heads);
std::unique_ptr<RelativePositionFields> read_transformer_xl(Config& config,
                                                            const ops::Heads& heads);
// What they share: fields that must equal the layer's, and embeddings [distances, heads, units] as
// attention takes them.
void check_heads(Config& config, const ops::Heads& heads);
std::vector<float> by_head(const std::vector<float>& embeddings, int64_t distances,
                           const ops::Heads& heads);

}  // namespace sl
