// T5RelativePositionEmbedding: score += table[head, bucket(distance)], where buckets grow with the
// distance (Raffel et al. 2020; reference: t5_relative_position_embedding).
#include <algorithm>
#include <cmath>
#include <limits>

#include "layers/attention/relative_position.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

class T5 final : public RelativePositionFields {
 public:
  T5(Config& config, const ops::Heads& heads)
      : num_buckets_(config.integer("num_buckets", 1)),
        num_heads_(config.integer("num_heads", 1)),
        bidirectional_(config.boolean("bidirectional")),
        max_distance_(config.integer("max_distance", 1, 128)),
        compute_dtype_(config.optional_dtype("compute_dtype")) {
    config.dtype("param_dtype", DType::kFloat32);
    config.ignore({"bias_matrix_init", "bias_matrix_sharding"});
    // Only grouped queries can share one table among all heads.
    if (num_heads_ != heads.count() && (num_heads_ != 1 || heads.group == 1)) {
      config.error("num_heads", fmt::format("expected {}, as the layer has", heads.count()));
    }
    if (exact() == 0) {
      config.error("num_buckets", fmt::format("expected at least {}", bidirectional_ ? 4 : 2));
    }
    constexpr int64_t kMax = 1 << 20;
    if (max_distance_ <= exact() || max_distance_ > kMax) {
      config.error("max_distance", fmt::format("expected more than {}, half of a direction's "
                                               "buckets, and at most {}",
                                               exact(), kMax));
    }
  }

  RelativePosition make(const ops::Heads&, const ops::Horizon&,
                        const WeightScope& weights) const override {
    std::vector<float> biases = weights.floats("embedding", {num_buckets_, num_heads_});
    if (compute_dtype_) {
      ops::round_to(*compute_dtype_, biases.data(), static_cast<int64_t>(biases.size()));
    }
    weights.reserve_memory(checked_product(num_heads_, 2 * max_distance_ + 3));
    RelativePosition out;
    // All distances beyond max_distance are in the last bucket. max_distance itself may not be,
    // because of rounding, so the range ends one beyond it.
    out.minimum = -max_distance_ - 1;
    out.maximum = bidirectional_ ? max_distance_ + 1 : 0;
    out.table_heads = num_heads_;
    for (int64_t h = 0; h < num_heads_; ++h) {
      for (int64_t distance = out.minimum; distance <= out.maximum; ++distance) {
        out.table.push_back(biases[static_cast<size_t>(bucket(distance) * num_heads_ + h)]);
      }
    }
    return out;
  }

 private:
  int64_t buckets_of_direction() const { return bidirectional_ ? num_buckets_ / 2 : num_buckets_; }
  // The number of distances that have a bucket of their own.
  int64_t exact() const { return buckets_of_direction() / 2; }

  // Computes in float32 like the reference, including its product with an inverse in place of a
  // division, because rounding decides at the edges of buckets.
  int64_t bucket(int64_t distance) const {
    const int64_t first = distance > 0 && bidirectional_ ? buckets_of_direction() : 0;
    const int64_t n = bidirectional_ ? std::abs(distance) : std::max<int64_t>(0, -distance);
    if (n < exact()) return first + n;
    const int64_t last = buckets_of_direction() - 1;
    const float ratio = static_cast<float>(n) / static_cast<float>(exact());
    const auto range = static_cast<float>(
        std::log(static_cast<double>(max_distance_) / static_cast<double>(exact())));
    const float steps = std::log(ratio + std::numeric_limits<float>::epsilon()) * (1 / range) *
                        static_cast<float>(last - exact());
    return first + std::min(last, exact() + static_cast<int64_t>(steps));
  }

  int64_t num_buckets_, num_heads_;
  bool bidirectional_;
  int64_t max_distance_;
  std::optional<DType> compute_dtype_;
};

}  // namespace

std::unique_ptr<RelativePositionFields> read_t5(Config& config, const ops::Heads& heads) {
  return std::make_unique<T5>(config, heads);
}

}  // namespace sl
