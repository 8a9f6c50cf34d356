// A chain runs layers one after the other. Serial, Residual and others are made of chains.
#pragma once

#include <string>
#include <vector>

#include "layers/builder.h"

namespace sl {

// Reads the field "share_scope": one boolean for all `count` layers, or a list with one for each.
std::vector<bool> read_share_scope(Config& config, size_t count);

// The path parts of the layers' emits: the layers' names, numbered where several are equal.
std::vector<std::string> emit_keys(const std::vector<const Layer*>& layers);

class Chain {
 public:
  explicit Chain(Layers layers);

  std::vector<const Layer*> layers() const;
  bool empty() const { return links_.empty(); }

  int64_t block_size() const;
  Ratio output_ratio() const { return output_ratio_; }
  bool supports_step() const;
  bool supports_finite_step() const;
  int64_t accumulated_input_latency(int64_t input_latency) const;
  int64_t accumulated_output_latency(int64_t output_latency) const;
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const;
  ReceptiveFields receptive_field_per_step() const;
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const;
  // The input spec of each layer when the chain gets `input`.
  std::vector<ChannelSpec> inputs(const ChannelSpec& input, const Constants& constants) const;
  int64_t output_length(int64_t time, const ChannelSpec& input, const Constants& constants) const;
  std::optional<ChannelSpec> implied_input() const;
  bool returns_view() const;
  // The paths of state tensors contain the layers' names, those of emits contain `keys`, one for
  // each layer.
  void declare(Declaration& declaration, const SequenceSpec& input,
               const std::vector<std::string>& keys) const;
  // Runs the layers in the mode of the run. The result lies on the run's side, or is x or a view of
  // it.
  Sequence run(Run& run, const Sequence& x) const;

 private:
  // A layer behind another one, which does its work.
  struct Folded {
    const Layer* layer;
    int64_t flop;  // for each element
  };
  // Properties of a layer that every run needs, asked for once.
  struct Link {
    const Layer* layer;
    bool returns_view;
    bool in_place;
    std::vector<Folded> folded;
    // Layers from here on that can run in pieces together, and how many of them make a sequence.
    std::vector<const Layer*> pieces;
    size_t working_pieces;
  };

  void find_pieces();
  // Lists the layers whose work another one has done, if the run is recorded.
  static void list_folded(const Run& run, const Link& link, const Sequence& y);
  static bool overwrite(Run& run, const Layer& layer, const Sequence& x, Side side);

  Layers layers_;
  std::vector<Link> links_;
  Ratio output_ratio_;
  size_t working_layers_ = 0;  // the number of layers that make a new sequence
};

}  // namespace sl
