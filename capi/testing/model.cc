#include "testing/model.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace sl::testing {
namespace {

using nlohmann::json;

constexpr const char* kComplexSuffix = "@complex64";
constexpr double kMinRate = 1e-3, kMaxRate = 1e9;

std::string plain_name(std::string name) {
  if (name.ends_with(kComplexSuffix)) name.resize(name.size() - std::string(kComplexSuffix).size());
  return name;
}

// Pairs of float32 have the memory layout of complex64: only dtype and dims change.
Tensor as_complex(Tensor x) {
  if (x.dtype != SL_DTYPE_FLOAT32 || x.dims.empty() || x.dims.back() != 2) {
    throw std::runtime_error("a complex tensor is not stored as pairs of float32");
  }
  x.dtype = SL_DTYPE_COMPLEX64;
  x.dims.pop_back();
  return x;
}

struct Entry {
  std::string name;
  sl_sequence view = SL_SEQUENCE_INIT;

  Tensor tensor() const {
    Tensor x = copy_of(view);
    const bool pairs = name.ends_with(kComplexSuffix) && x.dtype != SL_DTYPE_COMPLEX64;
    return pairs ? as_complex(std::move(x)) : x;
  }
};

Entry entry_at(const Weights& weights, int64_t index) {
  const sequence_layers::NamedTensor tensor = weights.tensor(index);
  return {tensor.name, tensor.view};
}

std::vector<std::string> emit_paths(const json& recorded) {
  std::vector<std::string> paths;
  for (const auto& name : recorded.value("emits", json::array())) {
    std::string path = name.get<std::string>();
    if (path.ends_with(".mask")) continue;
    paths.push_back(path);
  }
  return paths;
}

double number_of(const json& recorded, const char* key, double otherwise) {
  if (!recorded.contains(key)) return otherwise;
  const json& value = recorded[key];
  return value.is_string() ? std::strtod(value.get<std::string>().c_str(), nullptr)
                           : value.get<double>();
}

void read_emits(const json& recorded, const Weights& tensors, const std::string& prefix, Case& c) {
  const std::string values = ".values";
  for (const std::string& path : emit_paths(recorded)) {
    const std::string name = prefix + "emits." + path;
    if (!path.ends_with(values)) {
      c.emits.push_back({path, read_tensor(tensors, name)});
      continue;
    }
    const size_t cut = values.size();
    c.emits.push_back({path.substr(0, path.size() - cut),
                       read_sequence(tensors, name.substr(0, name.size() - cut))});
  }
}

}  // namespace

std::optional<double> Model::sample_rate() const {
  const char* text = layer.metadata("sample_rate");
  if (text == nullptr) return std::nullopt;
  double rate = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, rate);
  // The comparison is written so that NaN fails it.
  if (error == std::errc() && rest == end && rate >= kMinRate && rate <= kMaxRate) return rate;
  throw std::runtime_error(directory + ": metadata \"sample_rate\" is \"" + text +
                           "\": expected input steps a second, a number from 0.001 to 1e9");
}

bool Model::half_precision() const {
  return uses_half_precision(config) || (weights && any_half_tensor(*weights));
}

Model open_model(const std::string& directory, const sl_layer_options* options) {
  if (!std::filesystem::is_directory(directory)) {
    throw std::runtime_error("there is no model directory " + directory);
  }
  Layer layer = Layer::open(directory, options);
  const std::filesystem::path folder(directory);
  const std::string weights = (folder / "model.safetensors").string();
  return {directory, json::parse(read_file((folder / "config.json").string())),
          std::filesystem::exists(weights) ? std::optional(Weights::open(weights)) : std::nullopt,
          std::move(layer)};
}

std::string read_file(const std::string& path) {
  // Refuses pipes and devices, which could block or never end.
  const auto status = std::filesystem::status(path);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    const bool directory = std::filesystem::is_directory(status);
    throw std::runtime_error("cannot read " + path + ": it is " +
                             (directory ? "a directory" : "not a regular file"));
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw std::runtime_error("cannot read " + path);
  return text.str();
}

Tensor read_tensor(const Weights& weights, const std::string& name) {
  const std::string pairs = name + kComplexSuffix;
  const std::string& stored = !weights.contains(name) && weights.contains(pairs) ? pairs : name;
  return Entry{stored, weights.find(stored)}.tensor();
}

Tensor read_sequence(const Weights& weights, const std::string& name) {
  Tensor values = read_tensor(weights, name + ".values");
  const Tensor mask = read_tensor(weights, name + ".mask");
  values.is_array = false;
  if (values.dims.size() < 2 || mask.dims.size() != 2 ||
      mask.size() != values.batch() * values.time()) {
    throw std::runtime_error(name + " has values " + shape_text(values.dims) + " but a mask " +
                             shape_text(mask.dims));
  }
  values.mask.reserve(1);
  values.mask = mask.bytes;
  return values;
}

Weights select_weights(const Weights& weights, const std::string& prefix) {
  Weights out;
  for (int64_t i = 0; i < weights.tensor_count(); ++i) {
    const Entry entry = entry_at(weights, i);
    if (!entry.name.starts_with(prefix)) continue;
    const Tensor tensor = entry.tensor();
    out.add(plain_name(entry.name.substr(prefix.size())), tensor.view());
  }
  return out;
}

bool any_half_tensor(const Weights& weights) {
  for (int64_t i = 0; i < weights.tensor_count(); ++i) {
    if (is_half(entry_at(weights, i).view.dtype)) return true;
  }
  return false;
}

Case read_case(const json& recorded, const Weights& tensors, const std::string& prefix,
               bool half_precision) {
  Case c;
  c.metadata = recorded;
  c.input.x = read_sequence(tensors, prefix + "input");
  const json constants = recorded.value("constants", json::object());
  for (const auto& [name, kind] : constants.items()) {
    const std::string path = prefix + "constants." + name;
    c.input.constants.push_back(
        {name, kind == "sequence" ? read_sequence(tensors, path) : read_tensor(tensors, path)});
  }
  c.output = read_sequence(tensors, prefix + "output");
  // The reference can report its input's dtype and return another one: the values decide.
  json& spec = c.metadata["output"];
  if (spec.is_object() && spec.contains("dtype")) spec["dtype"] = sl_dtype_name(c.output->dtype);
  read_emits(recorded, tensors, prefix, c);
  half_precision = half_precision || is_half(c.input.x.dtype) || is_half(c.output->dtype);
  c.tolerance = case_tolerance(number_of(recorded, "rtol", 0), number_of(recorded, "atol", 0),
                               half_precision);
  const double pad_value = number_of(recorded, "padding_invariance_pad_value", NAN);
  if (!std::isnan(pad_value)) c.pad_value = pad_value;
  c.test_padding_invariance = recorded.value("test_padding_invariance", true);
  c.test_batching = recorded.value("test_batching", true);
  c.test_2x_step = recorded.value("test_2x_step", true);
  return c;
}

}  // namespace sl::testing
