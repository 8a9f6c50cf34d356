// Repeat: runs a layer `num_repeats` times in a row, each time with its own slice of the weights,
// which are stacked on their first axis (reference: combinators.Repeat).
#include "combinators/chain_layer.h"

namespace sl {
namespace {

Layers build_repeats(const Config& config, int64_t count, const Init& init) {
  Layers layers;
  for (int64_t i = 0; i < count; ++i) {
    layers.push_back(init.builder.build(config, init.weights.slice(i, count), "child_layer"));
  }
  return layers;
}

class Repeat final : public ChainLayer {
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
      : ChainLayer(build_repeats(fields.layer, fields.num_repeats, init)),
        repeats_(chain().layers()) {
    const Ratio ratio = first().output_ratio();
    if (ratio != Ratio(1)) {
      fail(Code::kConfig, "{}: a repeated layer has an output ratio of 1, this one has {}/{}",
           fields.layer.path(), ratio.numerator(), ratio.denominator());
    }
  }

  // All repeats have the same properties, so only the first is a child.
  std::vector<const Layer*> children() const override { return {&first()}; }
  ReceptiveFields receptive_field_per_step() const override {
    const ReceptiveFields each = first().receptive_field_per_step();
    ReceptiveFields fields = each;
    for (size_t i = 1; i < repeats_.size(); ++i) fields = precede(fields, Ratio(1), each, Ratio(1));
    return fields;
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec output = first().output_spec(input, constants);
    if (output != input) {
      fail(Code::kShape, "a repeated layer must have the same output as input: it makes {} of {}",
           to_string(output), to_string(input));
    }
    return output;
  }
  // The paths of state and emits contain the number of the repeat, because all repeats have the
  // same name.
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    SequenceSpec spec = input;
    for (size_t i = 0; i < repeats_.size(); ++i) {
      const std::string key = std::to_string(i);
      declaration.within(key, key, [&] { repeats_[i]->declare(declaration, spec); });
      spec = repeats_[i]->output(spec, declaration.constants());
    }
  }

  const Layer& first() const { return *repeats_.front(); }

  std::vector<const Layer*> repeats_;
};

SL_REGISTER_LAYER(Repeat);

}  // namespace
}  // namespace sl
