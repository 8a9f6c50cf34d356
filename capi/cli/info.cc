// sl info: prints a model's tree of layers, latency and memory.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/model_option.h"
#include "cli/numbers.h"
#include "testing/metadata.h"

namespace sl::cli {
namespace {

using nlohmann::json;
using sequence_layers::Layer;
using testing::Constants;
using testing::Model;
using testing::NamedTensor;

struct InfoOptions {
  ModelOption model;
  InputOptions input;
  bool json = false;
};

struct Row {
  std::string layer, output, parameters, weights, state;
};

bool is_error(const json& value) { return value.is_object() && value.contains("error"); }

std::string spec_text(const json& spec) {
  if (is_error(spec)) return "error";
  if (!spec.is_object()) return "";  // a combinator above does not tell its children's specs
  std::string text = spec.value("dtype", "?") + "[";
  const json shape = spec.value("channel_shape", json::array());
  for (size_t i = 0; i < shape.size(); ++i) text += (i != 0 ? ", " : "") + shape[i].dump();
  return text + "]";
}

std::string count_text(const json& node, const char* key, std::string (*format)(int64_t)) {
  if (!node.contains(key)) return "";
  const json& value = node[key];
  if (!value.is_number()) return "error";
  return value.get<int64_t>() == 0 ? "-" : format(value.get<int64_t>());
}

// For example "int8 1.2 MiB" or, with the bytes of all formats, "int8, float32 1.3 MiB".
std::string weights_text(const json& node) {
  std::string formats;
  int64_t bytes = 0;
  const json weights = node.value("weight_bytes", json::object());
  for (const auto& [format, count] : weights.items()) {
    formats += (formats.empty() ? "" : ", ") + format;
    bytes += count.get<int64_t>();
  }
  return formats.empty() ? "-" : formats + " " + bytes_text(bytes);
}

std::string label(const json& node) {
  const std::string type = node.value("type", "?");
  if (!node.contains("name") || !node["name"].is_string() || node["name"] == "") return type;
  return type + "  " + node["name"].get<std::string>();
}

// `lead` is printed before this node, `indent` before its children.
void add_rows(const json& node, const std::string& lead, const std::string& indent,
              std::vector<Row>& rows) {
  rows.push_back({lead + label(node), spec_text(node.value("output", json())),
                  count_text(node, "parameters", grouped), weights_text(node),
                  count_text(node, "state_bytes", bytes_text)});
  const json children = node.value("children", json::array());
  for (size_t i = 0; i < children.size(); ++i) {
    const bool last = i + 1 == children.size();
    add_rows(children[i], indent + (last ? "└─ " : "├─ "), indent + (last ? "   " : "│  "), rows);
  }
}

// The number of characters of UTF-8 text.
size_t width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string pad(const std::string& text, size_t columns, bool right) {
  const std::string space(columns - std::min(columns, width(text)), ' ');
  return right ? space + text : text + space;
}

void print_rows(std::vector<Row> rows) {
  rows.insert(rows.begin(), {"layer", "output", "parameters", "weights", "state"});
  size_t widths[5] = {};
  for (const Row& row : rows) {
    const std::string* cells[] = {&row.layer, &row.output, &row.parameters, &row.weights,
                                  &row.state};
    for (size_t i = 0; i < 5; ++i) widths[i] = std::max(widths[i], width(*cells[i]));
  }
  for (const Row& row : rows) {
    std::printf("%s  %s  %s  %s  %s\n", pad(row.layer, widths[0], false).c_str(),
                pad(row.output, widths[1], false).c_str(),
                pad(row.parameters, widths[2], true).c_str(),
                pad(row.weights, widths[3], true).c_str(), pad(row.state, widths[4], true).c_str());
  }
}

std::string value_text(const json& value) {
  return is_error(value) ? "error: " + value["error"].get<std::string>() : value.dump();
}

// "12 steps", and their duration if the sample rate is known.
std::string latency_text(const json& steps, std::optional<double> rate) {
  if (!steps.is_number()) return value_text(steps);
  std::string text = std::to_string(steps.get<int64_t>()) + " steps";
  if (rate) {
    char ms[40];
    std::snprintf(ms, sizeof(ms), " (%.1f ms)", 1000 * steps.get<double>() / *rate);
    text += ms;
  }
  return text;
}

std::string field_text(const json& field) {
  if (field.is_null()) return "none";
  if (!field.is_array()) return value_text(field);
  auto bound = [](const json& v) { return v.is_string() ? v.get<std::string>() : v.dump(); };
  return "[" + bound(field[0]) + ", " + bound(field[1]) + "] input steps";
}

// For example: "attention.probabilities: float32 [1, 1, 2, 8]".
std::string emit_text(const json& emit) {
  const std::string path = emit["path"];
  std::string dims;
  for (const json& dim : emit["shape"]) dims += (dims.empty() ? "" : ", ") + dim.dump();
  return (path.empty() ? "(model)" : path) + ": " + emit["dtype"].get<std::string>() + " [" + dims +
         "]";
}

// For example: "source: sequence [any, 6], streamed, for decoder.attention".
std::string constant_text(const sl_constant_info& info) {
  const char* kinds[] = {"sequence or array", "sequence", "array"};
  std::string text = std::string(info.name) + ": " + kinds[info.kind];
  if (info.rank >= 0) {
    text += " [";
    for (int32_t i = 0; i < info.rank; ++i) {
      text += (i != 0 ? ", " : "") + (info.dims[i] < 0 ? "any" : std::to_string(info.dims[i]));
    }
    text += "]";
  }
  if (info.dtype >= 0) text += std::string(" of ") + sl_dtype_name(info.dtype);
  if (info.streamed != 0) text += ", streamed";
  if (info.required == 0) text += ", optional";
  return info.layer[0] == '\0' ? text : text + ", for " + info.layer;
}

void print_summary(const Model& model, const json& tree) {
  const json metadata = testing::read_metadata(model.layer);
  const std::optional<double> rate = model.sample_rate();
  std::optional<double> output_rate;
  const json& ratio = metadata["output_ratio"];
  if (rate && ratio.is_array()) {
    output_rate = *rate * ratio[0].get<double>() / ratio[1].get<double>();
  }
  auto line = [](const char* name, const std::string& text) {
    std::printf("%-16s %s\n", name, text.c_str());
  };
  if (tree.contains("input")) line("input", spec_text(tree["input"]));
  if (tree.contains("output")) line("output", spec_text(tree["output"]));
  if (rate) line("sample rate", std::to_string(static_cast<int64_t>(*rate)) + " Hz");
  for (const sl_constant_info& info : model.layer.constants())
    line("constant", constant_text(info));
  const json emits = tree.value("emits", json::array());
  if (is_error(emits)) line("emits", value_text(emits));
  if (emits.is_array())
    for (const json& emit : emits) line("emit", emit_text(emit));
  line("block size", latency_text(metadata["block_size"], rate));
  line("output ratio",
       ratio.is_array() ? ratio[0].dump() + "/" + ratio[1].dump() : value_text(ratio));
  const std::string obstacle = tree.value("step_obstacle", "");
  line("supports step",
       value_text(metadata["supports_step"]) + (obstacle.empty() ? "" : ": ") + obstacle);
  line("input latency", latency_text(metadata["input_latency"], rate));
  line("output latency", latency_text(metadata["output_latency"], output_rate));
  line("receptive field", field_text(metadata["receptive_field"]));
  for (const sl_step_difference& difference : model.layer.step_differences())
    line("steps differ", testing::step_difference_text(difference));
  line("parameters", grouped(model.layer.parameter_count()));
  if (tree.contains("weight_bytes")) {
    for (const auto& [format, bytes] : tree["weight_bytes"].items())
      line("weights", format + " " + bytes_text(bytes.get<int64_t>()));
  }
  if (tree.contains("state_bytes")) {
    const std::string state = count_text(tree, "state_bytes", bytes_text);
    line("state", state == "-" ? "none" : state + " per stream");
  }
}

// The name of a required constant whose shape is unknown; empty if there is none.
std::string missing_constant(const Layer& layer, const InputOptions& options) {
  const Constants known = random_constants(layer, options, 1, 1);
  for (const sl_constant_info& info : layer.constants()) {
    const bool there = std::ranges::any_of(
        known, [&](const NamedTensor& constant) { return constant.name == info.name; });
    if (info.required != 0 && !there) return info.name;
  }
  return "";
}

json describe(const Layer& layer, const sl_channel_spec& spec, const InputOptions& options) {
  const Constants constants = random_constants(layer, options, 1, layer.block_size());
  return json::parse(layer.describe(spec, views(constants)));
}

void print_tree(const json& tree) {
  std::vector<Row> rows;
  add_rows(tree, "", "", rows);
  print_rows(rows);
  std::printf("\n");
}

int run_info(const InfoOptions& options) {
  const Model model = options.model.open();
  model.sample_rate();  // fails early if the metadata is invalid
  if (options.json) {
    const sl_channel_spec input = input_spec(model.layer, options.input);
    const json tree = describe(model.layer, input, options.input);
    std::printf("%s\n", tree.dump(1).c_str());
    return 0;
  }
  json tree = json::object();
  if (const auto spec = find_input_spec(model.layer, options.input); !spec) {
    std::printf("The model does not state its input: give --input to see its tree.\n\n");
  } else if (const std::string missing = missing_constant(model.layer, options.input);
             !missing.empty()) {
    std::printf(
        "The model does not state the shape of its constant \"%s\": give --constant to see its "
        "tree.\n\n",
        missing.c_str());
  } else {
    tree = describe(model.layer, *spec, options.input);
    print_tree(tree);
  }
  print_summary(model, tree);
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("info", "Print a model's tree, latency, memory");
  auto options = std::make_shared<InfoOptions>();
  options->model.add_to(*command);
  options->input.add_to(*command, false);
  command->add_flag("--json", options->json, "Print the tree as JSON");
  command->callback([options, &action] { action = [options] { return run_info(*options); }; });
}

}  // namespace sl::cli
