// Skip: y = concat(x, layers(x)) on the first channel axis, valid where x is (reference:
// tensorflow.combinators.Skip).
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>

#include "combinators/shortcut_layer.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

// The name that TensorFlow gives a layer whose config has none: `dense_shaped` for `DenseShaped`,
// `conv1d` for `Conv1D`.
std::string default_name(const std::string& type) {
  const auto is_lower = [&](size_t i) { return i < type.size() && std::islower(type[i]) != 0; };
  const auto is_upper = [&](size_t i) { return i < type.size() && std::isupper(type[i]) != 0; };
  std::string name;
  for (size_t i = 0; i < type.size(); ++i) {
    if (i > 0 && is_upper(i) && (is_lower(i - 1) || (is_upper(i - 1) && is_lower(i + 1))))
      name += '_';
    name += static_cast<char>(std::tolower(type[i]));
  }
  return name;
}

class Skip final : public ShortcutLayer {
 public:
  struct Fields {
    explicit Fields(Config& config) : where(config.path() + " (Skip)") {
      config.note("layer", "config or list of configs", "");
      const Json* layer = config.raw("layer");
      is_list = layer && layer->is_array();
      layers =
          is_list ? config.list("layer") : std::vector<Config>{config.nested_required("layer")};
    }
    std::string where;
    bool is_list = false;
    std::vector<Config> layers;
  };

  Skip(Fields fields, const Init& init)
      : ShortcutLayer(fields.where, build_body(fields.layers, init), Chain({})),
        keys_(emit_keys(body().layers())),
        emit_scope_(fields.is_list ? "serial_without_name_scopes" : "") {}

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    const ChannelSpec made = body().output_spec(input, constants);
    const auto rest = [](const Shape& shape) { return shape.slice(1, shape.rank()); };
    const bool fits = made.dtype == input.dtype && !input.shape.empty() &&
                      made.shape.rank() == input.shape.rank() &&
                      rest(made.shape) == rest(input.shape);
    if (!fits) {
      fail(Code::kShape,
           "its layers make {} of {}: expected the same dtype and, but for the first "
           "channel axis, the same shape",
           to_string(made), to_string(input));
    }
    ChannelSpec out = made;
    out.shape[0] = checked_sum(out.shape[0], input.shape[0]);
    return out;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    declaration.within("", emit_scope_, [&] { body().declare(declaration, input, keys_); });
  }

  // TensorFlow names variables by the layer that holds them, not by the layers around it.
  static Chain build_body(const std::vector<Config>& configs, const Init& init) {
    Layers layers;
    std::map<std::string, int> counts;
    for (const Config& config : configs) {
      std::string name = default_name(config.type());
      if (const int count = counts[name]++; count > 0) name += '_' + std::to_string(count);
      layers.push_back(
          init.builder.build(config, init.weights, name, /*share_scope=*/config.type() == "Skip"));
    }
    return Chain(std::move(layers));
  }

  // The output has the mask of x, with zeros where x is valid and the output of the layers is not.
  Sequence combine(Run& run, const Sequence& made, const Sequence& x) const override {
    ChannelSpec spec = made.spec();
    spec.shape[0] += x.channels[0];
    const Sequence y = run.output_like(x, spec);
    const Sequence parts[2] = {x, ops::mask_invalid(run, made)};
    size_t offset = 0;
    for (const Sequence& part : parts) {
      for (int64_t i = 0; i < y.steps(); ++i)
        std::memcpy(y.frame(0, i) + offset, part.frame(0, i), part.frame_bytes());
      offset += part.frame_bytes();
    }
    return y;
  }

  std::vector<std::string> keys_;
  std::string emit_scope_;
};

SL_REGISTER_LAYER(Skip);

}  // namespace
}  // namespace sl
