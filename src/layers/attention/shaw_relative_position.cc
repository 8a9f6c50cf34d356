// ShawRelativePositionEmbedding: score += query . embedding(distance), with the distance clipped
// (Shaw, Uszkoreit, Vaswani 2018; reference: shaw_relative_position_embedding).
#include "layers/attention/relative_position.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class Shaw final : public RelativePositionFields {
 public:
  Shaw(Config& config, const ops::Heads& heads)
      : max_backward_(config.integer("max_backward", 0)),
        max_forward_(config.integer("max_forward", 0)),
        compute_dtype_(config.has("compute_dtype") ? config.optional_dtype("compute_dtype")
                                                   : std::optional(DType::kFloat32)) {
    check_heads(config, heads);
    config.dtype("param_dtype", DType::kFloat32);
    config.ignore({"compute_dtype", "embedding_init", "embedding_sharding"});
  }

  RelativePosition make(const ops::Heads& heads, const ops::Horizon&,
                        const WeightScope& weights) const override {
    const int64_t distances = max_backward_ + max_forward_ + 1;
    std::vector<float> embedding =
        weights.floats("embedding", {distances, heads.count(), heads.units});
    if (compute_dtype_) {
      ops::round_to(*compute_dtype_, embedding.data(), static_cast<int64_t>(embedding.size()));
    }
    RelativePosition out;
    out.minimum = -max_backward_;
    out.maximum = max_forward_;
    out.embeddings = by_head(embedding, distances, heads);
    out.query_dtype = out.result_dtype = compute_dtype_;
    return out;
  }

 private:
  int64_t max_backward_, max_forward_;
  std::optional<DType> compute_dtype_;
};

}  // namespace

std::unique_ptr<RelativePositionFields> read_shaw(Config& config, const ops::Heads& heads) {
  return std::make_unique<Shaw>(config, heads);
}

}  // namespace sl
