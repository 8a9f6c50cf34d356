// Layers one after the other: what Serial, Residual and Repeat share.
#pragma once

#include <string>
#include <vector>

#include "layers/builder.h"

namespace sl {

// "share_scope": one boolean for all, or one for each layer.
std::vector<bool> read_share_scope(Config& config, size_t count);

// Keys under which the emits of children go: their names, numbered where several are equal.
std::vector<std::string> emit_keys(const std::vector<const Layer*>& layers);

class Chain {
 public:
  explicit Chain(Layers layers);

  std::vector<const Layer*> layers() const;

  int64_t block_size() const;
  Ratio output_ratio() const { return output_ratio_; }
  bool supports_step() const;
  bool supports_finite_step() const;
  int64_t accumulated_input_latency(int64_t input_latency) const;
  int64_t accumulated_output_latency(int64_t output_latency) const;
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const;
  ReceptiveFields receptive_field_per_step() const;
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const;
  // What each layer gets when the chain gets `input`.
  std::vector<ChannelSpec> inputs(const ChannelSpec& input, const Constants& constants) const;
  int64_t output_length(int64_t time, const ChannelSpec& input, const Constants& constants) const;
  std::optional<ChannelSpec> implied_input() const;
  bool returns_view() const;
  // State goes by the children's names; emits by `keys`, of as many entries.
  void declare(Declaration& declaration, const SequenceSpec& input,
               const std::vector<std::string>& keys) const;
  // The result lies on the run's side, or is x or a view of it.
  Sequence run(Run& run, const Sequence& x) const;

 private:
  // What a run asks of a layer, asked once.
  struct Link {
    const Layer* layer;
    bool returns_view;
    bool in_place;
  };

  static bool overwrite(Run& run, const Layer& layer, const Sequence& x, Side side);

  Layers layers_;
  std::vector<Link> links_;
  Ratio output_ratio_;
  size_t working_layers_ = 0;  // those that make a new sequence
};

}  // namespace sl
