// Base of all layers of self-attention: queries, keys and values are all projections of x.
#pragma once

#include <vector>

#include "layers/attention/attention_layer.h"
#include "layers/attention/key_numbers.h"

namespace sl {

class SelfAttention : public AttentionLayer {
 public:
  SelfAttention(AttentionFields fields, const Init& init);

  ChannelSpec child_input(const Layer& child, const ChannelSpec& input,
                          const Constants&) const final;
  std::vector<ConstantSpec> constants() const final;
  bool supports_step() const final;
  bool supports_finite_step() const final;
  std::string step_obstacle() const final;
  int64_t input_latency() const final;
  ReceptiveFields receptive_field_per_step() const final;
  std::optional<ChannelSpec> implied_input() const final;

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const final;
  void do_declare(Declaration& declaration, const SequenceSpec& input) const final;
  Sequence do_layer(Run& run, const Sequence& x) const final;
  Sequence do_step(Run& run, const Sequence& x) const final;

  struct Streams {
    Stream queries, keys, values;
  };

  Streams project(Run& run, const Sequence& x, DType compute) const;
  ops::PairVisibility pair_visibility(Run& run, const Sequence& y) const;
  void attend_to(Run& run, const Stream& queries, ops::AttentionSource source,
                 const Sequence& y) const;

  StackedDense dense_;
  KeyNumbers positions_, segments_;
};

}  // namespace sl
