// Base of all layers of cross-attention: queries are projections of x, keys and values of
// constants.
#pragma once

#include <string>
#include <vector>

#include "layers/attention/attention_layer.h"
#include "layers/stream_position.h"

namespace sl {

struct CrossAttentionFields : AttentionFields {
  explicit CrossAttentionFields(Config& config) : AttentionFields(config, /*is_cross=*/true) {}
  // Reads the field "source_name".
  void read_source(Config& config);
  // Reads the fields of layers whose source is a streamed constant.
  void read_streamed(Config& config);

  std::vector<std::string> sources;
  bool separate_projections = false;  // one projection for each source
  bool streamed = false;
  bool delays_queries = false;  // until the future steps that they see have come
  bool recomputes = false;  // each step projects the source again, not only a stream's first step
  std::string query_positions_name;
  // Constants that are required though nothing is computed with them: the positions of the steps of
  // x and of the sources.
  bool wants_query_positions = false;
  std::vector<std::string> source_positions;
};

class CrossAttention : public AttentionLayer {
 public:
  CrossAttention(CrossAttentionFields fields, const Init& init);

  ChannelSpec child_input(const Layer& child, const ChannelSpec& input,
                          const Constants& constants) const final;
  std::vector<ConstantSpec> constants() const final;
  bool supports_step() const final;
  std::string step_obstacle() const final;
  int64_t input_latency() const final { return own_.delays_queries ? future_steps() : 0; }
  ReceptiveFields receptive_field_per_step() const final;
  std::optional<ChannelSpec> implied_input() const final;

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const final;
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final;
  Sequence do_layer(Run& run, const Sequence& x) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;

  // The fields of the config that are not in `fields_`.
  struct Own {
    std::vector<std::string> sources;
    bool streamed;
    bool delays_queries;
    bool recomputes;
    std::string query_positions_name;  // empty: no positions
    std::vector<std::string> source_positions;
  };
  struct KeysAndValues {
    Stream keys, values;
  };

  StepDifference step_difference(const EarlySteps& before) const final {
    if (!counts_steps()) return AttentionLayer::step_difference(before);
    return minds_early_steps(before, "counts invalid steps too");
  }
  // The networks of keys and values see no early steps: they run over whole sources, or on a
  // streamed source, which has no latency.
  std::optional<EarlySteps> network_input(size_t index, const EarlySteps& before) const final {
    if (index == 0) return before;
    return own_.streamed ? std::optional(EarlySteps()) : std::nullopt;
  }
  bool counts_steps() const {
    return !own_.streamed && fields_.relative_position && own_.query_positions_name.empty();
  }
  // Whether a stream keeps the keys and values that its first step computes from the sources.
  bool keeps_sources(Mode mode) const {
    return mode == Mode::kStep && !own_.streamed && !own_.recomputes;
  }
  const StackedDense& dense_of(size_t source) const {
    return source_denses_[source_denses_.size() == 1 ? 0 : source];
  }
  void check_time(const Constant& source, int64_t time) const;
  void declare_kept(Declaration& declaration, int64_t batch, DType output) const;
  DType output_dtype(DType input, const Constants& constants) const;
  // The dtype in which keys and values of a source are computed; `input` may be the output's too.
  DType source_dtype(DType source, DType input) const;
  Stream project_queries(Run& run, const Sequence& x, DType output) const;
  KeysAndValues project_source(Run& run, size_t index, const Sequence& source, DType output,
                               Mode mode) const;
  void arrange_whole(Run& run, size_t index, const Sequence& source, DType output,
                     float* keys_and_values, uint8_t* valid) const;
  // The keys and values of a source. They are computed unless `is_kept` says, by item, that the
  // state has them already; null: compute them.
  ops::AttentionSource whole(Run& run, size_t index, DType output, const int32_t* is_kept) const;
  // The positions of the steps of x among the keys, from a constant; null if there is none.
  const int32_t* query_positions(Run& run, const Sequence& x) const;
  void attend_to_whole(Run& run, const Sequence& x, const Stream& queries,
                       const StreamPositions& positions, const Sequence& y) const;

  Own own_;
  StackedDense query_dense_;
  std::vector<StackedDense> source_denses_;
};

}  // namespace sl
