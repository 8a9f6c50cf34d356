// Parallel: y = combine(layer_0(x), layer_1(x), ...), with broadcasting (reference:
// combinators.Parallel).
#include <algorithm>

#include "combinators/chain.h"
#include "ops/combine.h"

namespace sl {
namespace {

class ParallelLayers final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : layers(config.list("layers")),
          combination(ops::read_combination(config)),
          share_scope(read_share_scope(config, layers.size())),
          path(config.path()) {}
    std::vector<Config> layers;
    ops::Combination combination;
    std::vector<bool> share_scope;
    std::string path;
  };

  ParallelLayers(Fields fields, const Init& init)
      : layers_(init.builder.build_list(fields.layers, init.weights, fields.share_scope)),
        keys_(emit_keys(children())),
        combination_(fields.combination) {
    if (layers_.empty()) return;
    const Ratio first = layers_.front()->output_ratio();
    const int64_t first_latency = layers_.front()->input_latency();
    for (size_t i = 1; i < layers_.size(); ++i) {
      const auto& layer = layers_[i];
      const Ratio ratio = layer->output_ratio();
      if (ratio != first) {
        fail(Code::kConfig,
             "{} (Parallel): layers must have the same output ratio, \"{}\" has {}/{} and \"{}\" "
             "{}/{}",
             fields.path, layers_.front()->name(), first.numerator(), first.denominator(),
             layer->name(), ratio.numerator(), ratio.denominator());
      }
      const int64_t latency = layer->input_latency();
      if (latency != first_latency) {
        fail(Code::kConfig,
             "{} (Parallel): layers must have the same input latency, \"{}\" has {} and \"{}\" {}: "
             "insert a "
             "Delay with \"delay_layer_output\": false",
             fields.path, layers_.front()->name(), first_latency, layer->name(), latency);
      }
    }
  }

  std::vector<const Layer*> children() const override {
    std::vector<const Layer*> out;
    for (const auto& layer : layers_) out.push_back(layer.get());
    return out;
  }
  int64_t block_size() const override {
    int64_t block = 1;
    for (const auto& layer : layers_) block = checked_lcm(block, layer->block_size());
    return block;
  }
  Ratio output_ratio() const override {
    return layers_.empty() ? Ratio(1) : layers_.front()->output_ratio();
  }
  bool supports_step() const override {
    return std::ranges::all_of(layers_, [](const auto& layer) { return layer->supports_step(); });
  }
  bool supports_finite_step() const override {
    return std::ranges::all_of(layers_,
                               [](const auto& layer) { return layer->supports_finite_step(); });
  }
  int64_t input_latency() const override { return accumulated_input_latency(0); }
  int64_t output_latency() const override { return accumulated_output_latency(0); }
  // An output step is valid only where the outputs of all layers are.
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    if (layers_.empty()) return before;
    std::vector<EarlySteps> each;
    for (const auto& layer : layers_) {
      differences.within(layer->name(),
                         [&] { each.push_back(layer->follow(before, differences)); });
    }
    EarlySteps all = each.front();
    for (const EarlySteps& one : each) {
      all.begins_invalid = all.begins_invalid || one.begins_invalid;
      if (!one.valid()) all.made_valid_by.clear();
    }
    return all;
  }
  ReceptiveFields receptive_field_per_step() const override {
    if (layers_.empty()) return {StepRange{0, 0}};
    std::vector<ReceptiveFields> all;
    for (const auto& layer : layers_) all.push_back(layer->receptive_field_per_step());
    return merge_steps(all);
  }
  std::optional<ChannelSpec> implied_input() const override {
    return layers_.empty() ? std::nullopt : layers_.front()->implied_input();
  }
  bool returns_view() const override { return layers_.empty(); }

 private:
  int64_t do_accumulated_input_latency(int64_t latency) const override {
    return same("input", latency,
                [&](const Layer& layer) { return layer.accumulated_input_latency(latency); });
  }
  int64_t do_accumulated_output_latency(int64_t latency) const override {
    return same("output", latency,
                [&](const Layer& layer) { return layer.accumulated_output_latency(latency); });
  }
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    if (layers_.empty()) return input;
    std::vector<ChannelSpec> specs;
    for (const auto& layer : layers_) specs.push_back(layer->output_spec(input, constants));
    return ops::combined_spec(combination_, specs);
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants& constants) const override {
    if (layers_.empty()) return time;
    const int64_t length = layers_.front()->output_length(time, input, constants);
    for (size_t i = 1; i < layers_.size(); ++i) {
      const int64_t other = layers_[i]->output_length(time, input, constants);
      if (other != length) {
        fail(Code::kShape, "from {} steps \"{}\" makes {} and \"{}\" {}", time,
             layers_.front()->name(), length, layers_[i]->name(), other);
      }
    }
    return length;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    for (size_t i = 0; i < layers_.size(); ++i) {
      declaration.within(layers_[i]->name(), keys_[i],
                         [&] { layers_[i]->declare(declaration, input); });
    }
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return combine(run, x); }
  Sequence do_step(Run& run, const Sequence& x) const override { return combine(run, x); }

  template <typename Fn>
  int64_t same(const char* which, int64_t fallback, Fn&& latency_of) const {
    if (layers_.empty()) return fallback;
    const int64_t latency = latency_of(*layers_.front());
    for (size_t i = 1; i < layers_.size(); ++i) {
      const int64_t other = latency_of(*layers_[i]);
      if (other == latency) continue;
      fail(Code::kUnsupported, "\"{}\" has an accumulated {} latency of {} and \"{}\" of {}",
           layers_.front()->name(), which, latency, layers_[i]->name(), other);
    }
    return latency;
  }

  Sequence combine(Run& run, const Sequence& x) const {
    if (layers_.empty()) return x;
    auto* outputs = run.scratch<Sequence>(static_cast<int64_t>(layers_.size()));
    for (size_t i = 0; i < layers_.size(); ++i)
      outputs[i] = call(run, *layers_[i], x, other(run.side()));
    return ops::combine(run, combination_, std::span<const Sequence>(outputs, layers_.size()));
  }

  Layers layers_;
  std::vector<std::string> keys_;
  ops::Combination combination_;
};

SL_REGISTER_LAYER_AS(Parallel, ParallelLayers);

}  // namespace
}  // namespace sl
