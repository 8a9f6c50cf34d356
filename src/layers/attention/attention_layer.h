// Base of all layers of dot-product attention: y = softmax(mask(q k^T)) v. Derived classes say
// where queries, keys and values come from.
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
  // Reads the fields of all attention layers. `is_cross`: keys and values are not projections of x.
  explicit AttentionFields(Config& config, bool is_cross = false);
  // Reads "num_kv_heads", for layers with grouped queries.
  void read_kv_heads(Config& config);
  // Reads the fields `past` and `future`: how many steps or blocks are seen, each at least
  // `minimum`; -1 stands for all.
  void read_horizon(Config& config, const char* past, const char* future, int64_t minimum);
  // Reads sinks, relative positions and other fields that layers with `read_pair_fields` lack.
  void read_score_fields(Config& config);
  // Like read_score_fields, for layers with a window of fixed size.
  void read_window_fields(Config& config);
  // Reads the names of the constants that decide which pairs of steps see each other.
  void read_pair_fields(Config& config);
  // Checks the fields together after all are read.
  void check(const Config& config) const;

  ops::Heads heads;
  ops::Horizon horizon;
  const char* future_field = "max_future_horizon";  // name of the config field, for messages
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

  // Differences between the layer types, which are no fields of the config.
  bool float32_scores = false;       // scores are float32, and probabilities are not emitted
  bool keys_valid_as_input = false;  // a layer-wise run masks keys by x, not by the key network
  // Block size for emitted probabilities, which then cover the window of a block; 0: all keys.
  int64_t window_block = 0;

  int64_t sinks() const { return sink_scalars ? 1 : sink_embeddings; }
};

class AttentionLayer : public Layer {
 public:
  AttentionLayer(AttentionFields fields, const Init& init);

  std::vector<const Layer*> children() const final;
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const final;
  int64_t block_size() const final { return fields_.horizon.block; }

 protected:
  // Queries, keys or values: steps of rows of heads with their mask.
  struct Stream {
    const float* values;
    int64_t stride;
    int64_t batch_stride;
    const uint8_t* mask;
    int64_t mask_stride;

    // The batch items from `first` on.
    Stream items(int64_t first) const {
      return {values + first * batch_stride, stride, batch_stride, mask + first * mask_stride,
              mask_stride};
    }
  };
  // The form of arranged queries: scaled or not, plus an offset [heads, units] unless it is empty,
  // and rounded to a dtype if one is given.
  struct QueryForm {
    bool scaled = true;
    std::span<const float> offset = {};
    std::optional<DType> dtype = std::nullopt;
  };

  DType compute_dtype(DType input) const;
  // The early steps at the input of a network; empty if the network does not run in steps.
  virtual std::optional<EarlySteps> network_input(size_t, const EarlySteps& before) const {
    return before;
  }
  // Number of past steps in the window; 0 if all of the past is seen.
  int64_t past_steps() const;
  int64_t future_steps() const;
  bool sees_all_past() const { return fields_.horizon.past < 0; }
  // The heads of rows in a layer whose output has this dtype.
  ops::Heads heads(DType output) const;
  ops::Heads kv_heads(DType output) const;
  // The format of cached keys and values.
  WeightFormat kv_format(DType output) const {
    return output == DType::kComplex64 ? WeightFormat::kFloat32 : kv_format_;
  }
  RingSpec key_ring(DType output) const;
  RingSpec query_ring(DType output) const;
  // The output spec for x with `channels` channels and an output of that dtype. Fails if x or the
  // networks do not fit.
  ChannelSpec attended_spec(const ChannelSpec& input, int64_t channels, DType output,
                            const Constants& constants) const;

  void declare_network(Declaration& declaration, size_t index, const SequenceSpec& input) const;
  void declare_rings(Declaration& declaration, const SequenceSpec& input, DType output,
                     bool delays) const;
  // Runs the network of this index in `mode` on rows of heads, whose numbers have the dtype
  // `compute`; without a network, returns them unchanged.
  Stream through_network(Run& run, size_t index, const Stream& stream, const Sequence& x,
                         DType compute, const ops::Heads& heads, Mode mode) const;
  const uint8_t* combined_mask(Run& run, const Stream& keys, const Stream& values,
                               const Sequence& x) const;
  void arrange_keys_and_values(Run& run, const Stream& keys, const Stream& values,
                               const Sequence& x, DType compute, const ops::Heads& kv_heads,
                               const uint8_t* keys_valid, const uint8_t* values_valid, float* to,
                               int64_t pitch) const;
  // Rounds keys and values of whole sequences, where streams would have them in a cache, as it
  // does.
  void round_as_cached(Run& run, float* keys_and_values, int64_t size, DType output) const;
  // Number of floats of the keys and values of a whole x, and the source that describes them.
  static int64_t whole_size(const Sequence& x, const ops::Heads& kv_heads);
  static ops::AttentionSource whole_source(const Sequence& x, const ops::Heads& kv_heads,
                                           const float* keys_and_values, const uint8_t* valid);
  // Adds keys and values to the rings of a stream, and returns the source with their history.
  ops::AttentionSource streamed_source(Run& run, const Stream& keys, const Stream& values,
                                       const Sequence& x, DType compute, DType output) const;
  // Copies the mask of the queries to y.
  static void set_mask(const Sequence& y, const Stream& queries);
  // Delays queries by future_steps(); the result lies in scratch.
  Stream delay(Run& run, const Stream& queries, const Sequence& x, DType output) const;
  // The columns of emitted probabilities in a layer-wise run with `time` keys.
  ops::Probabilities layer_columns(int64_t time) const;
  ops::Probabilities emit(Run& run, const Sequence& y, ops::Probabilities where) const;
  int64_t emitted_columns(const SequenceSpec& input) const;
  const float* arrange_queries(Run& run, const Stream& queries, const Sequence& y,
                               const QueryForm& form) const;
  // Attends to sources and writes y. `positions` of the queries among the keys are for relative
  // biases; if null, they follow from the horizon.
  void attend(Run& run, const Stream& queries, std::span<ops::AttentionSource> sources,
              const Sequence& y, const int32_t* positions = nullptr) const;

  AttentionFields fields_;
  static constexpr size_t kNetworks = 3;  // one each for queries, keys and values
  std::array<std::unique_ptr<Layer>, kNetworks> networks_;

 private:
  static void follow_network(const Layer& network, const EarlySteps& given,
                             StepDifferences& differences);
  // Whether scores depend only on distances between positions, so that the given differences of the
  // query and key networks cancel.
  bool sees_only_distances(std::span<const StepDifference> queries,
                           std::span<const StepDifference> keys) const;
  ops::Sinks sinks(Run& run, const Stream& queries, const Sequence& y) const;
  ops::RelativeBias relative_bias(Run& run, const Stream& queries, const Sequence& y) const;

  void cache(Run& run, const Stream& keys, const Stream& values, const Sequence& x, DType compute,
             DType output, const uint8_t* valid, const Ring& ring, int64_t item) const;

  WeightFormat kv_format_;
  HeadScale query_scale_;
  std::optional<HeadScale> key_scale_;
  std::vector<float> sink_keys_, sink_values_;  // ordered by head, units padded
  std::vector<float> sink_scores_;
  std::optional<RelativePosition> relative_;
};

}  // namespace sl
