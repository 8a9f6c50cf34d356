// sl compare: how far a model with other weight formats is from the original.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json_output.h"
#include "cli/noise.h"
#include "cli/progress.h"
#include "cli/source.h"
#include "testing/model.h"

namespace sl::cli {
namespace {

using sequence_layers::Layer;
using testing::Input;
using testing::Model;
using testing::NamedTensor;
using testing::Stepper;
using testing::Tensor;

// Ends the names of the emits that are added behind layers.
constexpr const char* kEmitSuffix = ":out";
constexpr int64_t kDriftParts = 10;

struct CompareOptions {
  std::string model, other;
  std::string weight_format, kv_format;
  InputOptions input;
  std::string data;
  int64_t time = 200;
  int64_t steps = 10000;
  bool logits = false;
  bool json = false;

  // Options of the other model, which borrow the strings of this object.
  sl_layer_options layer_options() const {
    sl_layer_options out = SL_LAYER_OPTIONS_INIT;
    if (!weight_format.empty()) out.weight_format = weight_format.c_str();
    if (!kv_format.empty()) out.kv_format = kv_format.c_str();
    return out;
  }
};

// Adds an emit of the output of every layer in a list of layers. Their weights keep their names.
void add_emits(ordered_json& node) {
  if (node.is_array()) {
    for (ordered_json& item : node) add_emits(item);
    return;
  }
  if (!node.is_object()) return;
  for (auto& [key, value] : node.items()) add_emits(value);
  const std::string type = node.value("type", "");
  if ((type != "Serial" && type != "Residual") || !node.contains("layers")) return;
  ordered_json layers = ordered_json::array(), shares = ordered_json::array();
  const ordered_json& given = node["layers"];
  for (size_t i = 0; i < given.size(); ++i) {
    ordered_json layer = given[i];
    if (!layer.contains("name") || layer["name"].is_null() || layer["name"] == "")
      layer["name"] = "layers_" + std::to_string(i);
    const std::string name = layer["name"].get<std::string>() + kEmitSuffix;
    layers.push_back(std::move(layer));
    layers.push_back({{"type", "Emit"}, {"name", name}});
    if (!node.contains("share_scope") || !node["share_scope"].is_array()) continue;
    shares.push_back(node["share_scope"][i]);
    shares.push_back(false);
  }
  node["layers"] = std::move(layers);
  if (!shares.empty()) node["share_scope"] = std::move(shares);
}

// How two outputs agree as logits over the last axis.
struct Agreement {
  double divergence = 0;  // mean of KL(model || other), in nats
  double top = 0;         // share of steps with the same largest logit
};

std::vector<double> log_softmax(const Tensor& x, int64_t first, int64_t count) {
  std::vector<double> out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) out[static_cast<size_t>(i)] = x.at(first + i).real();
  const double largest = *std::ranges::max_element(out);
  double sum = 0;
  for (const double v : out) sum += std::exp(v - largest);
  for (double& v : out) v -= largest + std::log(sum);
  return out;
}

Agreement agreement(const Tensor& a, const Tensor& b) {
  const int64_t classes = a.dims.back(), rows = a.size() / classes;
  const int64_t rows_of_step = a.step_size() / classes;
  Agreement out;
  int64_t counted = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t step = row / rows_of_step;
    if (!a.valid(step / a.time(), step % a.time())) continue;
    const std::vector<double> p = log_softmax(a, row * classes, classes);
    const std::vector<double> q = log_softmax(b, row * classes, classes);
    for (size_t i = 0; i < p.size(); ++i) out.divergence += std::exp(p[i]) * (p[i] - q[i]);
    out.top += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin();
    ++counted;
  }
  out.divergence /= static_cast<double>(std::max<int64_t>(counted, 1));
  out.top /= static_cast<double>(std::max<int64_t>(counted, 1));
  return out;
}

// Both models and the input.
struct Pair {
  Model model, other;
  Input input;
};

Layer with_emits(const Model& model, const sl_layer_options& options) {
  const std::string path = model.directory + "/config.json";
  ordered_json config = ordered_json::parse(testing::read_file(path));
  add_emits(config);
  if (!model.weights) return Layer(config.dump(), &options);
  return Layer(config.dump(), *model.weights, &options);
}

Pair open_pair(const CompareOptions& options) {
  if (options.other.empty() && options.weight_format.empty() && options.kv_format.empty())
    throw std::invalid_argument("give a second model, --weight-format or --kv-format");
  const sl_layer_options layer_options = options.layer_options();
  Pair pair{
      testing::open_model(options.model),
      testing::open_model(options.other.empty() ? options.model : options.other, &layer_options),
      {}};
  if (pair.model.config != pair.other.config)
    throw std::invalid_argument("the models have different configs");
  const Layer& layer = pair.model.layer;
  if (options.data.empty()) {
    pair.input = random_input(layer, options.input, 1, options.time);
  } else {
    pair.input = read_source(pair.model, options.data, options.input).input;
    pair.input.constants =
        random_constants(layer, options.input, pair.input.x.batch(), pair.input.x.time());
  }
  return pair;
}

ordered_json compare_layers(const Pair& pair, const CompareOptions& options) {
  std::vector<NamedTensor> emits, others;
  const Tensor y =
      testing::apply(with_emits(pair.model, SL_LAYER_OPTIONS_INIT), pair.input, &emits);
  const Tensor other =
      testing::apply(with_emits(pair.other, options.layer_options()), pair.input, &others);
  ordered_json layers = ordered_json::array();
  for (size_t i = 0; i < emits.size(); ++i) {
    std::string name = emits[i].name;
    if (!name.ends_with(kEmitSuffix) || emits[i].value.is_array) continue;
    name.resize(name.size() - std::string(kEmitSuffix).size());
    Noise noise;
    noise.add(emits[i].value, others[i].value);
    layers.push_back({{"layer", name}, {"snr_db", noise.ratio()}});
  }
  Noise noise;
  noise.add(y, other);
  ordered_json out = {{"layers", layers}, {"output", {{"snr_db", noise.ratio()}}}};
  if (options.logits) {
    const Agreement both = agreement(y, other);
    out["logits"] = {{"kl_nats", both.divergence}, {"top1", both.top}};
  }
  return out;
}

// The input, repeated until it has `time` steps.
Input repeated(const Input& input, int64_t time) {
  std::vector<Tensor> parts;
  int64_t total = 0;
  while (total < time) {
    parts.push_back(slice_time(input.x, 0, std::min(input.x.time(), time - total)));
    total += parts.back().time();
  }
  return {concat_time(parts), input.constants};
}

ordered_json compare_streams(const Pair& pair, const CompareOptions& options) {
  const int64_t block = pair.model.layer.block_size();
  const Input input = repeated(pair.input, options.steps * block);
  Stepper stepper(pair.model.layer, input), other(pair.other.layer, input);
  ProgressBar bar;
  ordered_json parts = ordered_json::array();
  for (int64_t i = 0; i < kDriftParts; ++i) {
    const int64_t begin = options.steps * i / kDriftParts;
    const int64_t end = options.steps * (i + 1) / kDriftParts;
    if (begin == end) continue;
    Noise noise;
    const Tensor y = stepper.run(begin, end);
    noise.add(y, other.run(begin, end));
    parts.push_back({{"first_step", begin}, {"snr_db", noise.ratio()}});
    bar.show(static_cast<double>(end) / static_cast<double>(options.steps));
  }
  return parts;
}

void print_text(const ordered_json& found, const CompareOptions& options) {
  size_t width = 6;
  for (const auto& layer : found["layers"])
    width = std::max(width, layer["layer"].get_ref<const std::string&>().size());
  const auto line = [&](const std::string& name, const std::string& text) {
    std::printf("%-*s  %s\n", static_cast<int>(width), name.c_str(), text.c_str());
  };
  for (const auto& layer : found["layers"]) line(layer["layer"], decibels(layer["snr_db"]));
  line("output", decibels(found["output"]["snr_db"]));
  if (found.contains("logits")) {
    std::printf("\nlogits: KL %.3g nats, the same top-1 in %.2f %% of the steps\n",
                found["logits"]["kl_nats"].get<double>(),
                100 * found["logits"]["top1"].get<double>());
  }
  if (!found.contains("drift")) return;
  std::printf("\ndrift over %lld streamed steps\n", static_cast<long long>(options.steps));
  for (const auto& part : found["drift"]) {
    line("from " + std::to_string(part["first_step"].get<int64_t>()), decibels(part["snr_db"]));
  }
}

int run_compare(const CompareOptions& options) {
  const Pair pair = open_pair(options);
  ordered_json found = compare_layers(pair, options);
  if (options.steps > 0 && pair.model.layer.supports_step())
    found["drift"] = compare_streams(pair, options);
  if (options.json) {
    print_json(found);
  } else {
    print_text(found, options);
  }
  return 0;
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("compare", "Measure how formats change a model's outputs");
  auto options = std::make_shared<CompareOptions>();
  command->add_option("model", options->model, "Model directory")
      ->required()
      ->type_name(kDirectory);
  command->add_option("other", options->other, "The same model, packed")->type_name(kDirectory);
  command->add_option("--weight-format", options->weight_format,
                      "Hold the other model's matrices in this format");
  command->add_option("--kv-format", options->kv_format,
                      "Cache the other model's keys and values in this format");
  options->input.add_to(*command, true);
  command->add_option("--data", options->data, "Input: a sound or .npy; random numbers without it")
      ->type_name(kFile);
  command->add_option("--time", options->time, "Steps of random input")
      ->check(positive())
      ->capture_default_str();
  command
      ->add_option("--steps", options->steps, "Blocks of the streams that measure drift; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--logits", options->logits,
                    "The last axis of the output are logits: compare them as distributions");
  command->add_flag("--json", options->json, "Print the numbers as JSON");
  command->callback([options, &action] { action = [options] { return run_compare(*options); }; });
}

}  // namespace sl::cli
