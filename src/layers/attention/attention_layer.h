// What all layers of dot-product attention share, wherever keys and values come from: y =
// softmax(mask(q k^T)) v.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ring.h"
#include "layers/attention/head_scale.h"
#include "layers/attention/projection.h"
#include "layers/attention/relative_position.h"
#include "layers/builder.h"
#include "ops/attention.h"

namespace sl {

struct AttentionFields {
  // Reads what all layers have. In cross-attention keys and values are not made of x.
  explicit AttentionFields(Config& config, bool is_cross = false);
  // Those of a layer that has grouped queries, of blocks and of which steps they see.
  void read_kv_heads(Config& config);
  // Fields `past` and `future`: as many steps, or blocks, or -1 for all.
  void read_horizon(Config& config, const char* past, const char* future, int64_t least);
  // Sinks, relative positions and what else is not in layers with `read_pair_fields`.
  void read_score_fields(Config& config);
  // The same of layers with a window of fixed size.
  void read_window_fields(Config& config);
  // Constants that say who sees whom.
  void read_pair_fields(Config& config);
  // Once all is read.
  void check(const Config& config) const;

  ops::Heads heads;
  ops::Horizon horizon;
  const char* future_field = "max_future_horizon";  // the horizon's, in the config
  InputProjection projection;
  bool use_bias = false;
  static constexpr const char* kNetworks[] = {"query_network", "key_network", "value_network"};
  std::array<std::optional<Config>, 3> networks;
  float soft_cap = 0;
  bool per_dim_scale = false;
  bool per_dim_key_scale = false;
  std::optional<double> query_scale;
  std::optional<DType> compute_dtype;
  DType param_dtype = DType::kFloat32;
  bool float32_logits = false;
  int64_t sink_embeddings = 0;
  bool sink_scalars = false;
  bool zero_fully_masked = false;
  std::unique_ptr<RelativePositionFields> relative_position;
  std::string position_name, segment_ids_name;

  // How the types differ.
  bool float32_scores = false;       // from the products on, and probabilities are not emitted
  bool keys_valid_as_input = false;  // layer-wise, whatever networks make of the mask
  int64_t window_block = 0;  // probabilities are emitted over the window of blocks this long, not
                             // over all keys

  int64_t sinks() const { return sink_scalars ? 1 : sink_embeddings; }
};

class AttentionLayer : public Layer {
 public:
  AttentionLayer(AttentionFields fields, const Init& init);

  std::vector<const Layer*> children() const final;
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const final;
  int64_t block_size() const final { return fields_.horizon.block; }

 protected:
  // Queries, keys or values: steps of [heads, units].
  struct Stream {
    const float* values;
    int64_t stride;
    int64_t batch_stride;
    const uint8_t* mask;
    int64_t mask_stride;

    // Batch items from `first` on.
    Stream items(int64_t first) const {
      return {values + first * batch_stride, stride, batch_stride, mask + first * mask_stride,
              mask_stride};
    }
  };
  // How queries are wanted: scaled or as they are, plus an offset [heads, units] if there is one,
  // rounded to another dtype than they have.
  struct QueryForm {
    bool scaled = true;
    std::span<const float> offset = {};
    std::optional<DType> dtype = std::nullopt;
  };

  DType compute_dtype(DType input) const;
  // Whether a network runs in steps, and what comes in before the first then.
  virtual std::optional<EarlySteps> network_input(size_t, const EarlySteps& before) const {
    return before;
  }
  // Of the past as of a window: none where all of it is seen.
  int64_t past_steps() const;
  int64_t future_steps() const;
  bool sees_all_past() const { return fields_.horizon.past < 0; }
  ops::Heads kv_heads() const;
  RingSpec key_ring() const;
  RingSpec query_ring() const;
  // Output for x of `channels` channels, if networks can take what is made of it.
  ChannelSpec attended_spec(const ChannelSpec& input, int64_t channels,
                            const Constants& constants) const;

  void declare_network(Declaration& declaration, size_t index, const SequenceSpec& input) const;
  void declare_rings(Declaration& declaration, const SequenceSpec& input, bool delays) const;
  // Steps after their network, if there is one; it takes [heads, units]. `mode` is how it runs.
  Stream through_network(Run& run, size_t index, const Stream& stream, const Sequence& x,
                         DType compute, Mode mode) const;
  const uint8_t* combined_mask(Run& run, const Stream& keys, const Stream& values,
                               const Sequence& x) const;
  void arrange_keys_and_values(Run& run, const Stream& keys, const Stream& values,
                               const Sequence& x, DType compute, const uint8_t* keys_valid,
                               const uint8_t* values_valid, float* to, int64_t pitch) const;
  // Keys and values of whole x: floats of them all, and how attention finds them there.
  int64_t whole_size(const Sequence& x) const;
  ops::AttentionSource whole_source(const Sequence& x, const float* keys_and_values,
                                    const uint8_t* valid) const;
  // Those of a stream, with its history.
  ops::AttentionSource streamed_source(Run& run, const Stream& keys, const Stream& values,
                                       const Sequence& x, DType compute) const;
  // The mask of queries becomes that of y.
  static void set_mask(const Sequence& y, const Stream& queries);
  // The queries of future_steps() before, in scratch.
  Stream delay(Run& run, const Stream& queries, const Sequence& x) const;
  // Layer-wise, of that many keys.
  ops::Probabilities layer_columns(int64_t time) const;
  ops::Probabilities emit(Run& run, const Sequence& y, ops::Probabilities where) const;
  int64_t emitted_columns(const SequenceSpec& input) const;
  const float* arrange_queries(Run& run, const Stream& queries, const Sequence& y,
                               const QueryForm& form) const;
  // Attends to sources, whose biases, if there are any, are those of `queries` at `positions`.
  void attend(Run& run, const Stream& queries, std::span<ops::AttentionSource> sources,
              const Sequence& y, const int32_t* positions = nullptr) const;

  AttentionFields fields_;
  static constexpr size_t kNetworks = 3;  // of queries, keys and values
  std::array<std::unique_ptr<Layer>, kNetworks> networks_;

 private:
  static void follow_network(const Layer& network, const EarlySteps& given,
                             StepDifferences& differences);
  // Whether only distances between positions matter where its networks differ by these.
  bool sees_only_distances(std::span<const StepDifference> queries,
                           std::span<const StepDifference> keys) const;
  ops::Sinks sinks(Run& run, const Stream& queries, const Sequence& y) const;
  ops::RelativeBias relative_bias(Run& run, const Stream& queries, const Sequence& y) const;

  HeadScale query_scale_;
  std::optional<HeadScale> key_scale_;
  std::vector<float> sink_keys_, sink_values_;  // by head, padded
  std::vector<float> sink_scores_;
  std::optional<RelativePosition> relative_;
};

}  // namespace sl
