// Residual: y = layers(x) + shortcut_layers(x), the shortcut being x itself by default (reference:
// combinators.Residual).
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "combinators/chain.h"
#include "ops/combine.h"

namespace sl {
namespace {

// Without shortcut layers an empty chain: the identity.
Chain build_shortcut(const std::optional<std::vector<Config>>& configs, bool is_list,
                     const Init& init) {
  if (!configs) return Chain({});
  // One layer stands in the shortcut's place; a list of them makes a Serial there.
  const WeightScope scope = init.weights.child("shortcut_layer");
  if (is_list) return Chain(init.builder.build_list(*configs, scope, {}));
  Layers layers;
  layers.push_back(init.builder.build(configs->front(), init.weights, "shortcut_layer"));
  return Chain(std::move(layers));
}

class Residual final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : layers(config.list("layers")),
          shortcut_layers(config.optional_list("shortcut_layers")),
          share_scope(read_share_scope(config, layers.size())),
          path(config.path()) {
      const Json* shortcut = config.raw("shortcut_layers");
      shortcut_is_list = shortcut && shortcut->is_array();
    }
    std::vector<Config> layers;
    std::optional<std::vector<Config>> shortcut_layers;
    bool shortcut_is_list = false;
    std::vector<bool> share_scope;
    std::string path;
  };

  Residual(Fields fields, const Init& init)
      : body_(init.builder.build_list(fields.layers, init.weights, fields.share_scope)),
        shortcut_(build_shortcut(fields.shortcut_layers, fields.shortcut_is_list, init)),
        body_keys_(emit_keys(body_.layers())),
        shortcut_keys_(fields.shortcut_is_list
                           ? emit_keys(shortcut_.layers())
                           : std::vector<std::string>(shortcut_.layers().size())) {
    const Ratio body = body_.output_ratio(), shortcut = shortcut_.output_ratio();
    if (body != shortcut) {
      fail(Code::kConfig,
           "{} (Residual): layers and shortcut_layers must have the same output ratio, they have "
           "{}/{} and {}/{}",
           fields.path, body.numerator(), body.denominator(), shortcut.numerator(),
           shortcut.denominator());
    }
    const int64_t body_latency = body_.accumulated_input_latency(0);
    const int64_t shortcut_latency = shortcut_.accumulated_input_latency(0);
    if (body_latency != shortcut_latency) {
      fail(Code::kConfig,
           "{} (Residual): layers and shortcut_layers must have the same input latency, they have "
           "{} and {}: insert a "
           "Delay with \"delay_layer_output\": false",
           fields.path, body_latency, shortcut_latency);
    }
  }

  std::vector<const Layer*> children() const override {
    std::vector<const Layer*> all = body_.layers();
    for (const Layer* layer : shortcut_.layers()) all.push_back(layer);
    return all;
  }
  ChannelSpec child_input(const Layer& child, const ChannelSpec& input,
                          const Constants& constants) const override {
    const std::vector<const Layer*> body = body_.layers();
    const bool in_body = std::find(body.begin(), body.end(), &child) != body.end();
    return (in_body ? body_ : shortcut_).input_of(child, input, constants);
  }
  int64_t block_size() const override {
    return std::lcm(body_.block_size(), shortcut_.block_size());
  }
  Ratio output_ratio() const override { return body_.output_ratio(); }
  bool supports_step() const override { return body_.supports_step() && shortcut_.supports_step(); }
  int64_t input_latency() const override { return accumulated_input_latency(0); }
  int64_t output_latency() const override { return accumulated_output_latency(0); }
  int64_t accumulated_input_latency(int64_t latency) const override {
    return same("input", body_.accumulated_input_latency(latency),
                shortcut_.accumulated_input_latency(latency));
  }
  int64_t accumulated_output_latency(int64_t latency) const override {
    return same("output", body_.accumulated_output_latency(latency),
                shortcut_.accumulated_output_latency(latency));
  }
  ReceptiveFields receptive_field_per_step() const override {
    return merge_aligned(body_.receptive_field_per_step(), body_.output_ratio(),
                         shortcut_.receptive_field_per_step(), shortcut_.output_ratio());
  }
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec body = body_.output_spec(input, constants);
    const ChannelSpec shortcut = shortcut_.output_spec(input, constants);
    if (body.shape != shortcut.shape) {
      fail(Code::kShape,
           "Residual \"{}\": layers make {} and the shortcut {}: expected the same shape", name(),
           to_string(body), to_string(shortcut));
    }
    return {promote(body.dtype, shortcut.dtype), body.shape};
  }
  int64_t output_length(int64_t time, const ChannelSpec& input,
                        const Constants& constants) const override {
    const int64_t body = body_.output_length(time, input, constants),
                  shortcut = shortcut_.output_length(time, input, constants);
    if (body != shortcut) {
      fail(Code::kShape, "Residual \"{}\": of {} steps layers make {} and the shortcut {}", name(),
           time, body, shortcut);
    }
    return body;
  }
  std::optional<ChannelSpec> implied_input() const override { return body_.implied_input(); }
  void declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.within("", "0", [&] { body_.declare(declaration, input, body_keys_); });
    declaration.within("shortcut_layer", "1",
                       [&] { shortcut_.declare(declaration, input, shortcut_keys_); });
  }
  Sequence layer(Run& run, const Sequence& x) const override { return add(run, x); }
  Sequence step(Run& run, const Sequence& x) const override { return add(run, x); }

 private:
  int64_t same(const char* which, int64_t body, int64_t shortcut) const {
    if (body == shortcut) return body;
    fail(Code::kUnsupported,
         "Residual \"{}\": layers have an accumulated {} latency of {}, shortcut_layers of {}",
         name(), which, body, shortcut);
  }

  Sequence add(Run& run, const Sequence& x) const {
    const Sequence inputs[2] = {run_chain(run, body_, x), run_chain(run, shortcut_, x)};
    return ops::combine(run, ops::Combination::kAdd, inputs);
  }

  // Both results wait on the other side until they are added.
  static Sequence run_chain(Run& run, const Chain& chain, const Sequence& x) {
    return run.on_side(other(run.side()), [&] { return chain.run(run, x); });
  }

  Chain body_;
  Chain shortcut_;
  std::vector<std::string> body_keys_;
  std::vector<std::string> shortcut_keys_;
};

SL_REGISTER_LAYER(Residual);

}  // namespace
}  // namespace sl
