#include "cli/input.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "cli/commands.h"

namespace sl::cli {
namespace {

using sequence_layers::Error;
using sequence_layers::Layer;
using testing::Constants;
using testing::Input;
using testing::NamedTensor;

std::vector<int64_t> sequence_dims(int64_t batch, int64_t time, const sl_channel_spec& spec) {
  std::vector<int64_t> dims = {batch, time};
  dims.insert(dims.end(), spec.dims, spec.dims + spec.rank);
  return dims;
}

const sl_constant_info* find_info(const std::vector<sl_constant_info>& infos,
                                  const std::string& name) {
  const auto it = std::ranges::find_if(infos, [&](const auto& info) { return name == info.name; });
  return it == infos.end() ? nullptr : &*it;
}

// `dims` exclude the batch. Kind and dtype come from `info` if it is not null.
NamedTensor random_constant(const std::string& name, const sl_constant_info* info, int64_t batch,
                            std::vector<int64_t> dims, int max_int, std::mt19937& rng) {
  dims.insert(dims.begin(), batch);
  const bool is_array = info && info->kind == SL_CONSTANT_KIND_ARRAY;
  const sl_dtype dtype = info && info->dtype >= 0 ? info->dtype : SL_DTYPE_FLOAT32;
  // An array with one axis is created as a sequence of single steps.
  const bool flat = is_array && dims.size() == 1;
  if (flat) dims.push_back(1);
  NamedTensor constant{name, testing::random_sequence(dtype, dims, rng, max_int)};
  if (flat) constant.value.dims.pop_back();
  constant.value.is_array = is_array;
  if (is_array) constant.value.mask.clear();
  return constant;
}

NamedTensor described_constant(const std::string& text, const InputOptions& options,
                               const std::vector<sl_constant_info>& infos, int64_t batch,
                               std::mt19937& rng) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw std::invalid_argument("--constant is name=time,channels..., not '" + text + "'");
  }
  const std::vector<int64_t> dims = parse_shape(text.substr(equals + 1));
  if (dims.empty()) throw std::invalid_argument("--constant " + text + " has no time");
  const std::string name = text.substr(0, equals);
  return random_constant(name, find_info(infos, name), batch, dims, options.max_int, rng);
}

// The dims without the batch; nothing if the model does not state all of them.
std::optional<std::vector<int64_t>> known_dims(const sl_constant_info& info, int64_t time) {
  if (info.rank < 0) return std::nullopt;
  std::vector<int64_t> dims(info.dims, info.dims + info.rank);
  if (info.kind != SL_CONSTANT_KIND_ARRAY) dims.insert(dims.begin(), time);
  if (info.kind == SL_CONSTANT_KIND_ARRAY && info.streamed != 0 && !dims.empty()) dims[0] = time;
  if (std::ranges::find(dims, -1) != dims.end()) return std::nullopt;
  return dims;
}

}  // namespace

CLI::Validator positive() {
  return CLI::Validator(
      [](const std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        const bool good = end != text.c_str() && *end == '\0' && value > 0;
        return good ? std::string() : "must be a positive number, not '" + text + "'";
      },
      "POSITIVE");
}

std::vector<int64_t> parse_shape(const std::string& text) {
  std::vector<int64_t> dims;
  if (text == "scalar" || text == "[]") return dims;
  const char* at = text.data();
  const char* end = at + text.size();
  while (true) {
    int64_t value = 0;
    const auto [rest, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value <= 0 || (rest != end && *rest != ',')) {
      throw std::invalid_argument("a shape is positive numbers as in 16,8, or 'scalar', not '" +
                                  text + "'");
    }
    dims.push_back(value);
    if (rest == end) return dims;
    at = rest + 1;
  }
}

void InputOptions::add_to(CLI::App& command, bool runs) {
  command.add_option("--input", shape, "Channel shape of the input, such as 16,8 or scalar");
  command.add_option("--dtype", dtype, "Dtype of the input, such as float32")->type_name(kDtype);
  command.add_option("--constant", constants, "A random constant: name=time,channels...");
  if (!runs) return;
  command.add_option("--max-int", max_int, "Upper limit of random integers, exclusive")
      ->capture_default_str();
}

sl_channel_spec input_spec(const Layer& layer, const InputOptions& options) {
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  if (options.shape.empty()) {
    try {
      spec = layer.input_spec();
    } catch (const Error& error) {
      if (error.status() != SL_STATUS_UNSUPPORTED) throw;
      throw Error(error.status(), (std::string(error.what()) + " (give it with --input)").c_str());
    }
  } else {
    const std::vector<int64_t> dims = parse_shape(options.shape);
    if (dims.size() > SL_MAX_CHANNEL_RANK) {
      throw std::invalid_argument("--input has more than " + std::to_string(SL_MAX_CHANNEL_RANK) +
                                  " dimensions");
    }
    spec = sequence_layers::channel_spec(dims);
  }
  if (!options.dtype.empty()) spec.dtype = testing::parse_dtype(options.dtype);
  return spec;
}

std::optional<sl_channel_spec> find_input_spec(const Layer& layer, const InputOptions& options) {
  if (!options.shape.empty()) return input_spec(layer, options);
  try {
    return input_spec(layer, options);
  } catch (const Error& error) {
    // Only a missing spec is accepted; an invalid one is an error.
    if (error.status() == SL_STATUS_UNSUPPORTED) return std::nullopt;
    throw;
  }
}

Input random_input(const Layer& layer, const InputOptions& options, int64_t batch, int64_t time) {
  const sl_channel_spec spec = input_spec(layer, options);
  std::mt19937 rng(0);
  Input input;
  input.x =
      testing::random_sequence(spec.dtype, sequence_dims(batch, time, spec), rng, options.max_int);
  input.constants = random_constants(layer, options, batch, time);
  return input;
}

Constants random_constants(const Layer& layer, const InputOptions& options, int64_t batch,
                           int64_t time) {
  const std::vector<sl_constant_info> infos = layer.constants();
  std::mt19937 rng(1);
  Constants constants;
  for (const std::string& text : options.constants)
    constants.push_back(described_constant(text, options, infos, batch, rng));
  for (const sl_constant_info& info : infos) {
    const bool given = std::ranges::any_of(
        constants, [&](const NamedTensor& constant) { return constant.name == info.name; });
    const auto dims = known_dims(info, time);
    if (given || info.required == 0 || !dims) continue;
    constants.push_back(random_constant(info.name, &info, batch, *dims, options.max_int, rng));
  }
  return constants;
}

}  // namespace sl::cli
