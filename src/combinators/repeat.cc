// Repeat: the same layer `num_repeats` times, each with its own slice of weights that are stacked
// on their first axis (reference: combinators.Repeat).
#include "combinators/chain.h"

namespace sl {
namespace {

Layers build_repeats(const Config& config, int64_t count, const Init& init) {
  Layers layers;
  for (int64_t i = 0; i < count; ++i) {
    layers.push_back(init.builder.build(config, init.weights.slice(i, count), "child_layer"));
  }
  return layers;
}

std::vector<std::string> indices(int64_t count) {
  std::vector<std::string> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(std::to_string(i));
  return out;
}

class Repeat final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : layer(config.nested_required("layer")), num_repeats(config.integer("num_repeats", 1)) {
      config.ignore({"remat", "prevent_cse", "policy", "unroll_layer", "unroll_step"});
    }
    Config layer;
    int64_t num_repeats;
  };

  Repeat(Fields fields, const Init& init)
      : chain_(build_repeats(fields.layer, fields.num_repeats, init)),
        keys_(indices(fields.num_repeats)) {
    const Ratio ratio = first().output_ratio();
    if (ratio != Ratio(1)) {
      fail(Code::kConfig, "{}: a repeated layer has an output ratio of 1, this one has {}/{}",
           fields.layer.path(), ratio.numerator(), ratio.denominator());
    }
  }

  std::vector<const Layer*> children() const override { return {&first()}; }
  int64_t block_size() const override { return chain_.block_size(); }
  bool supports_step() const override { return first().supports_step(); }
  int64_t input_latency() const override { return chain_.accumulated_input_latency(0); }
  int64_t output_latency() const override { return chain_.accumulated_output_latency(0); }
  int64_t accumulated_input_latency(int64_t latency) const override {
    return chain_.accumulated_input_latency(latency);
  }
  int64_t accumulated_output_latency(int64_t latency) const override {
    return chain_.accumulated_output_latency(latency);
  }
  ReceptiveFields receptive_field_per_step() const override {
    const ReceptiveFields each = first().receptive_field_per_step();
    ReceptiveFields fields = each;
    for (size_t i = 1; i < keys_.size(); ++i) fields = precede(fields, Ratio(1), each, Ratio(1));
    return fields;
  }
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec output = first().output_spec(input, constants);
    if (output != input) {
      fail(Code::kShape,
           "Repeat \"{}\": a repeated layer gives what it is given: it makes {} of {}", name(),
           to_string(output), to_string(input));
    }
    return output;
  }
  int64_t output_length(int64_t time, const ChannelSpec& input) const override {
    return chain_.output_length(time, input);
  }
  std::optional<ChannelSpec> implied_input() const override { return chain_.implied_input(); }
  bool returns_view() const override { return chain_.returns_view(); }
  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    SequenceSpec spec = input;
    for (size_t i = 0; i < keys_.size(); ++i) {
      const Layer& layer = *chain_.layers()[i];
      // State also goes by number: equal names would not tell the repeats apart.
      declaration.within(keys_[i], keys_[i], [&] { layer.declare(declaration, spec); });
      spec = layer.output(spec, declaration.constants());
    }
  }
  Sequence layer(Run& run, const Sequence& x) const override { return chain_.run(run, x); }
  Sequence step(Run& run, const Sequence& x) const override { return chain_.run(run, x); }

 private:
  const Layer& first() const { return *chain_.layers().front(); }

  Chain chain_;
  std::vector<std::string> keys_;
};

SL_REGISTER_LAYER(Repeat);

}  // namespace
}  // namespace sl
