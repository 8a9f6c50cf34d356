// TransformerXLRelativePositionEmbedding: score = (query + u) . key + (query + v) . W s, where s
// are the sinusoids of the distance (Dai et al. 2019; reference:
// transformer_xl_relative_position_embedding).
#include "layers/attention/relative_position.h"
#include "ops/timing_signal.h"

namespace sl {
namespace {

class TransformerXl final : public RelativePositionFields {
 public:
  TransformerXl(Config& config, const ops::Heads& heads)
      : path_(config.path()),
        max_backward_(config.integer("max_backward", 0)),
        max_forward_(config.integer("max_forward", 0)),
        position_bias_dim_(config.integer("position_bias_dim", 1)),
        use_bias_(config.boolean("use_bias", true)) {
    check_heads(config, heads);
    config.dtype("param_dtype", DType::kFloat32);
    config.ignore({"u_sharding", "v_sharding", "pos_proj_sharding", "einsum_factory"});
  }

  bool needs_fixed_window() const override { return true; }

  RelativePosition make(const ops::Heads& heads, const ops::Horizon& horizon,
                        const WeightScope& weights) const override {
    constexpr int64_t kMax = 1 << 24;
    if (max_backward_ + max_forward_ > kMax) {
      fail(Code::kConfig, "{}: expected at most {} distances, got {}", path_, kMax,
           max_backward_ + max_forward_);
    }
    if (max_backward_ + max_forward_ != horizon.past + horizon.future) {
      fail(Code::kConfig,
           "{}: max_backward + max_forward is {}: expected max_past_horizon + max_future_horizon "
           "of the layer, {}",
           path_, max_backward_ + max_forward_, horizon.past + horizon.future);
    }
    const std::vector<float> kernel =
        weights.child("pos_proj")
            .floats("kernel", {position_bias_dim_, heads.count(), heads.units});
    const int64_t distances = max_backward_ + max_forward_ + 1;
    weights.reserve_memory(checked_product(2, distances, heads.count(), heads.width()));
    RelativePosition out;
    out.minimum = -horizon.past;
    out.maximum = horizon.future;
    out.embeddings = by_head(project(kernel, heads), out.maximum - out.minimum + 1, heads);
    out.takes_scaled_queries = true;
    if (use_bias_) {
      out.query_offset = weights.floats("u", {heads.count(), heads.units});
      out.bias_offset = weights.floats("v", {heads.count(), heads.units});
    }
    return out;
  }

 private:
  // Projects the sinusoids of the positions from max_backward down to -max_forward to
  // [positions, heads, units].
  std::vector<float> project(const std::vector<float>& kernel, const ops::Heads& heads) const {
    const int64_t positions = max_backward_ + max_forward_ + 1;
    const int64_t columns = heads.count() * heads.units;
    std::vector<float> out(static_cast<size_t>(positions * columns));
    std::vector<float> frequencies(static_cast<size_t>(position_bias_dim_ / 2));
    ops::timing_frequencies({1, 1e4}, frequencies.data(), position_bias_dim_ / 2);
    std::vector<float> signal(static_cast<size_t>(position_bias_dim_));
    for (int64_t i = 0; i < positions; ++i) {
      ops::timing_signal(frequencies.data(), static_cast<float>(max_backward_ - i),
                         position_bias_dim_, signal.data());
      for (int64_t c = 0; c < columns; ++c) {
        double sum = 0;
        for (int64_t d = 0; d < position_bias_dim_; ++d) {
          sum += static_cast<double>(signal[static_cast<size_t>(d)]) *
                 kernel[static_cast<size_t>(d * columns + c)];
        }
        out[static_cast<size_t>(i * columns + c)] = static_cast<float>(sum);
      }
    }
    return out;
  }

  std::string path_;
  int64_t max_backward_, max_forward_, position_bias_dim_;
  bool use_bias_;
};

}  // namespace

std::unique_ptr<RelativePositionFields> read_transformer_xl(Config& config,
                                                            const ops::Heads& heads) {
  return std::make_unique<TransformerXl>(config, heads);
}

}  // namespace sl
