// Residual: y = layers(x) + shortcut_layers(x); without shortcut layers the shortcut is x
// (reference: combinators.Residual).
#include <nlohmann/json.hpp>

#include "combinators/shortcut_layer.h"

namespace sl {
namespace {

class Residual final : public ShortcutLayer {
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
      : ShortcutLayer(
            fields.path + " (Residual)",
            Chain(init.builder.build_list(fields.layers, init.weights, fields.share_scope)),
            build_shortcut(fields, init)),
        body_keys_(emit_keys(body().layers())),
        shortcut_keys_(fields.shortcut_is_list
                           ? emit_keys(shortcut().layers())
                           : std::vector<std::string>(shortcut().layers().size())) {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec body_spec = body().output_spec(input, constants);
    const ChannelSpec shortcut_spec = shortcut().output_spec(input, constants);
    if (body_spec.shape != shortcut_spec.shape) {
      fail(Code::kShape, "layers make {} and the shortcut {}: expected the same shape",
           to_string(body_spec), to_string(shortcut_spec));
    }
    return {promote(body_spec.dtype, shortcut_spec.dtype), body_spec.shape};
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.within("", "0", [&] { body().declare(declaration, input, body_keys_); });
    declaration.within("shortcut_layer", "1",
                       [&] { shortcut().declare(declaration, input, shortcut_keys_); });
  }

  // Without shortcut layers the shortcut is an empty chain, the identity. A single layer has the
  // weights "shortcut_layer" itself; a list of layers acts as a Serial of that name.
  static Chain build_shortcut(const Fields& fields, const Init& init) {
    Layers layers;
    if (fields.shortcut_layers && !fields.shortcut_is_list) {
      layers.push_back(
          init.builder.build(fields.shortcut_layers->front(), init.weights, "shortcut_layer"));
      return Chain(std::move(layers));
    }
    // The name is reserved even if there are no shortcut layers.
    init.weights.reserve("shortcut_layer", fields.path + ".shortcut_layers");
    if (fields.shortcut_layers) {
      const WeightScope scope = init.weights.child("shortcut_layer");
      layers = init.builder.build_list(*fields.shortcut_layers, scope, {});
    }
    return Chain(std::move(layers));
  }

  Sequence combine(Run& run, const Sequence& body, const Sequence& shortcut) const override {
    const Sequence inputs[2] = {body, shortcut};
    return ops::combine(run, ops::Combination::kPlus, inputs);
  }
  bool adds() const override { return true; }

  std::vector<std::string> body_keys_;
  std::vector<std::string> shortcut_keys_;
};

SL_REGISTER_LAYER(Residual);

}  // namespace
}  // namespace sl
