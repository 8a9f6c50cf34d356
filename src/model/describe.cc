// Describes the layer tree as JSON, for people and tools. The text is written directly, because a
// tree of JSON values cannot be freed when memory is short (core/json_document.h).
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/status.h"
#include "model/model.h"
#include "model/properties.h"

namespace sl {
namespace {

std::string json_string(std::string_view text) { return Json(text).dump(); }

// Writes a JSON object whose values are given as JSON text.
class Object {
 public:
  void add(std::string_view key, std::string_view value) {
    text_ += fmt::format("{}{}:{}", text_.empty() ? "{" : ",", json_string(key), value);
  }
  std::string text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

std::string error_object(const Error& error) {
  Object out;
  out.add("error", json_string(error.what()));
  return out.text();
}

// The JSON that fn() returns or, if it fails, the error as JSON.
template <typename Fn>
std::string value_or_error(Fn&& fn) {
  try {
    return fn();
  } catch (const Error& error) {
    if (error.code() == Code::kOutOfMemory) throw;
    return error_object(error);
  }
}

// Writes a JSON list of numbers or of items that are given as JSON text.
template <typename Items>
std::string list(const Items& items) {
  return fmt::format("[{}]", fmt::join(items, ","));
}

std::string bound(int64_t step) {
  if (step == kInfinite) return json_string("inf");
  if (step == -kInfinite) return json_string("-inf");
  return std::to_string(step);
}

std::string to_json(const ReceptiveField& field) {
  if (!field) return "null";
  return list(std::array{bound(field->start), bound(field->end)});
}

std::string to_json(bool value) { return value ? "true" : "false"; }

std::string to_json(const ChannelSpec& spec) {
  Object out;
  out.add("dtype", json_string(name_of(spec.dtype)));
  out.add("channel_shape", list(spec.shape));
  return out.text();
}

std::string to_json(const StateSpec& tensor) {
  Object out;
  out.add("name", json_string(tensor.name));
  out.add("dtype", json_string(name_of(tensor.dtype)));
  out.add("shape", list(tensor.shape));
  return out.text();
}

// The formats that the layer has.
std::string to_json(const WeightBytes& bytes) {
  Object out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] > 0) out.add(kWeightFormatNames[i], std::to_string(bytes[i]));
  }
  return out.text();
}

void add_state(const Layer& layer, const ChannelSpec& input, const Constants& constants,
               Object* out) {
  Declaration declaration(constants);
  layer.declare(declaration, {input, 1, layer.block_size(), Mode::kStep});
  std::vector<std::string> tensors;
  int64_t bytes = 0;
  for (const StateSpec& tensor : declaration.states()) {
    tensors.push_back(to_json(tensor));
    bytes = checked_sum(bytes, static_cast<int64_t>(tensor.bytes()));
  }
  out->add("state", list(tensors));
  out->add("state_bytes", std::to_string(bytes));
}

const char* name_of(StepDifference::Condition condition) {
  switch (condition) {
    case StepDifference::Condition::kHoles:
      return "holes";
    case StepDifference::Condition::kPadding:
      return "padding";
    default:
      return "always";
  }
}

std::string describe_layer(const Layer& layer, const std::optional<ChannelSpec>& input,
                           const Constants& constants);

// Describes each child for the input spec that its parent gives it.
std::string describe_children(const Layer& layer, const std::optional<ChannelSpec>& input,
                              const Constants& constants) {
  std::vector<std::string> children;
  std::vector<ChannelSpec> inputs;
  if (input) inputs = layer.child_inputs(*input, constants);
  const std::vector<const Layer*> all = layer.children();
  for (size_t i = 0; i < all.size(); ++i) {
    const std::optional<ChannelSpec> given = input ? std::optional(inputs[i]) : std::nullopt;
    children.push_back(describe_layer(*all[i], given, constants));
  }
  return list(children);
}

void add_properties(const Layer& layer, Object* out) {
  out->add("block_size", value_or_error([&] { return std::to_string(layer.block_size()); }));
  out->add("output_ratio", value_or_error([&] {
             const Ratio ratio = layer.output_ratio();
             return list(std::array{ratio.numerator(), ratio.denominator()});
           }));
  out->add("supports_step", value_or_error([&] { return to_json(layer.supports_step()); }));
  if (const std::string obstacle = step_obstacle(layer); !obstacle.empty())
    out->add("step_obstacle", json_string(obstacle));
  out->add("input_latency", value_or_error([&] { return std::to_string(layer.input_latency()); }));
  out->add("output_latency",
           value_or_error([&] { return std::to_string(layer.output_latency()); }));
  out->add("receptive_field", value_or_error([&] { return to_json(receptive_field_of(layer)); }));
  std::vector<std::string> names;
  for (const ConstantSpec& constant : layer.constants())
    names.push_back(json_string(constant.name));
  if (!names.empty()) out->add("constants", list(names));
}

Object describe_object(const Layer& layer, const std::optional<ChannelSpec>& input,
                       const Constants& constants) {
  Object out;
  out.add("type", json_string(layer.type()));
  out.add("name", json_string(layer.name()));
  out.add("parameters", std::to_string(layer.parameter_count()));
  out.add("weight_bytes", to_json(layer.weight_bytes()));
  add_properties(layer, &out);
  if (input) {
    out.add("input", to_json(*input));
    out.add("output",
            value_or_error([&] { return to_json(layer.output_spec(*input, constants)); }));
    try {
      if (layer.supports_step()) add_state(layer, *input, constants, &out);
    } catch (const Error& error) {
      if (error.code() == Code::kOutOfMemory) throw;
      out.add("state", error_object(error));
    }
  }
  out.add("children", describe_children(layer, input, constants));
  return out;
}

std::string describe_layer(const Layer& layer, const std::optional<ChannelSpec>& input,
                           const Constants& constants) {
  return describe_object(layer, input, constants).text();
}

std::string to_json(const EmitSpec& emit) {
  Shape shape{emit.sequence.batch, emit.sequence.time};
  for (const int64_t dim : emit.sequence.channels.shape) shape.push_back(dim);
  Object out;
  out.add("path", json_string(emit.path));
  out.add("dtype", json_string(name_of(emit.sequence.channels.dtype)));
  out.add("shape", list(shape));
  return out.text();
}

std::string emits_of(const Layer& root, const ChannelSpec& input, const Constants& constants) {
  const Mode mode = root.supports_step() ? Mode::kStep : Mode::kLayer;
  Declaration declaration(constants);
  root.declare(declaration, {input, 1, root.block_size(), mode});
  std::vector<std::string> emits;
  for (const EmitSpec& emit : declaration.emits()) emits.push_back(to_json(emit));
  return list(emits);
}

const char* name_of(ConstantSpec::Kind kind) {
  switch (kind) {
    case ConstantSpec::Kind::kSequence:
      return "sequence";
    case ConstantSpec::Kind::kArray:
      return "array";
    default:
      return "any";
  }
}

// Sizes that the model leaves open are null.
std::string to_json(const ConstantUse& use) {
  const ConstantSpec& spec = use.spec;
  std::vector<std::string> dims;
  if (spec.channels) {
    for (const int64_t dim : *spec.channels)
      dims.push_back(dim == kAnySize ? "null" : std::to_string(dim));
  }
  Object out;
  out.add("name", json_string(spec.name));
  out.add("layer", json_string(use.path));
  out.add("kind", json_string(name_of(spec.kind)));
  out.add("required", to_json(spec.required));
  out.add("streamed", to_json(spec.streamed));
  out.add("dtype", spec.dtype ? json_string(name_of(*spec.dtype)) : "null");
  out.add("channel_shape", spec.channels ? list(dims) : "null");
  return out.text();
}

// The matrices of all repeats together.
std::string to_json(const std::vector<WeightMatrix>& matrices) {
  std::map<std::string, int64_t> bytes;
  for (const WeightMatrix& matrix : matrices)
    bytes[matrix.name] += static_cast<int64_t>(matrix.panels.bytes());
  std::vector<std::string> all;
  for (const WeightMatrix& matrix : matrices) {
    const auto total = bytes.extract(matrix.name);
    if (total.empty()) continue;
    std::vector<std::string> tensors;
    for (const std::string& tensor : matrix.sources) tensors.push_back(json_string(tensor));
    Object out;
    out.add("tensors", list(tensors));
    out.add("format", json_string(name_of(matrix.panels.format())));
    out.add("bytes", std::to_string(total.mapped()));
    all.push_back(out.text());
  }
  return list(all);
}

std::string to_json(const StepDifference& difference) {
  Object out;
  out.add("layer", json_string(difference.path));
  out.add("type", json_string(difference.type));
  out.add("condition", json_string(name_of(difference.condition)));
  out.add("reason", json_string(difference.reason));
  out.add("cure", json_string(difference.cure));
  return out.text();
}

}  // namespace

std::string Model::describe(const ChannelSpec& input, const Constants& constants) const {
  output_spec(input, constants);  // an input that does not fit is the caller's error
  Object out = describe_object(*root_, input, constants);
  out.add("emits", value_or_error([&] { return emits_of(*root_, input, constants); }));
  std::vector<std::string> specs;
  for (const ConstantUse& use : constants_.all()) specs.push_back(to_json(use));
  out.add("constant_specs", list(specs));
  out.add("matrices", to_json(use_.matrices));
  std::vector<std::string> differences;
  for (const StepDifference& difference : step_differences_)
    differences.push_back(to_json(difference));
  if (!differences.empty()) out.add("step_differences", list(differences));
  return out.text();
}

}  // namespace sl
