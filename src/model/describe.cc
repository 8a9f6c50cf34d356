// The layer tree as JSON, for people and tools.
#include <nlohmann/json.hpp>

#include "core/status.h"
#include "layers/state.h"
#include "model/model.h"

namespace sl {
namespace {

using OrderedJson = nlohmann::ordered_json;

// A value, or the reason why there is none.
template <typename Fn>
OrderedJson value_or_error(Fn&& fn) {
  try {
    OrderedJson value = fn();
    return value;
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

OrderedJson bound(int64_t step) {
  if (step == kInfinite) return "inf";
  if (step == -kInfinite) return "-inf";
  return step;
}

OrderedJson to_json(const ReceptiveField& field) {
  if (!field) return nullptr;
  return OrderedJson::array({bound(field->start), bound(field->end)});
}

OrderedJson to_json(const ChannelSpec& spec) {
  return {{"dtype", name_of(spec.dtype)},
          {"channel_shape", std::vector<int64_t>(spec.shape.begin(), spec.shape.end())}};
}

void add_state(const Layer& layer, const ChannelSpec& input, const Constants& constants,
               OrderedJson* out) {
  Declaration declaration(constants);
  layer.declare(declaration, {input, 1, layer.block_size(), Mode::kStep});
  OrderedJson tensors = OrderedJson::array();
  size_t bytes = 0;
  for (const StateTensor& tensor : declaration.states()) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", name_of(tensor.dtype)},
                       {"shape", std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())}});
    bytes += bytes_of(tensor);
  }
  (*out)["state"] = std::move(tensors);
  (*out)["state_bytes"] = bytes;
}

OrderedJson describe_layer(const Layer& layer, const std::optional<ChannelSpec>& input,
                           const Constants& constants);

// Children get the specs that pass between them where they run one after the other.
OrderedJson describe_children(const Layer& layer, const std::optional<ChannelSpec>& input,
                              const Constants& constants) {
  OrderedJson children = OrderedJson::array();
  for (const Layer* child : layer.children()) {
    std::optional<ChannelSpec> given;
    if (input) given = layer.child_input(*child, *input, constants);
    children.push_back(describe_layer(*child, given, constants));
  }
  return children;
}

OrderedJson describe_layer(const Layer& layer, const std::optional<ChannelSpec>& input,
                           const Constants& constants) {
  OrderedJson out;
  out["type"] = layer.type();
  out["name"] = layer.name();
  out["parameters"] = layer.parameter_count();
  out["block_size"] = value_or_error([&] { return layer.block_size(); });
  out["output_ratio"] = value_or_error([&] {
    return std::vector<int64_t>{layer.output_ratio().numerator(),
                                layer.output_ratio().denominator()};
  });
  out["supports_step"] = value_or_error([&] { return layer.supports_step(); });
  out["input_latency"] = value_or_error([&] { return layer.input_latency(); });
  out["output_latency"] = value_or_error([&] { return layer.output_latency(); });
  out["receptive_field"] = value_or_error([&] { return to_json(layer.receptive_field()); });
  for (const ConstantSpec& constant : layer.constants()) out["constants"].push_back(constant.name);
  if (input) {
    out["input"] = to_json(*input);
    out["output"] = value_or_error([&] { return to_json(layer.output_spec(*input, constants)); });
    try {
      if (layer.supports_step()) add_state(layer, *input, constants, &out);
    } catch (const Error& error) {
      out["state"] = {{"error", error.what()}};
    }
  }
  out["children"] = describe_children(layer, input, constants);
  return out;
}

}  // namespace

std::string Model::describe(const ChannelSpec& input, const Constants& constants) const {
  output_spec(input, constants);  // an input that does not fit is the caller's error
  return describe_layer(*root_, input, constants).dump();
}

}  // namespace sl
