#include "support/models.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

namespace sl::testing {
namespace {

struct Missing {
  std::string name;
  sl_dtype dtype = SL_DTYPE_FLOAT32;
  std::vector<int64_t> dims;  // -1: any size
  bool open = false;          // the rank is unknown too
};

// Parses messages such as
// tensor "params.dense.kernel" is missing: expected float32 [any, 8]
// tensor "params.dense_shaped.kernel" is missing
std::optional<Missing> parse_missing(const std::string& message) {
  constexpr const char* kBefore = "tensor \"";
  constexpr const char* kBetween = "\" is missing";
  constexpr const char* kAfter = ": expected ";
  const size_t between = message.find(kBetween);
  if (!message.starts_with(kBefore) || between == std::string::npos) return std::nullopt;
  Missing missing;
  const size_t name = std::strlen(kBefore);
  missing.name = message.substr(name, between - name);
  std::string shape = message.substr(between + std::strlen(kBetween));
  missing.open = shape.empty();
  if (missing.open) return missing;
  if (!shape.starts_with(kAfter)) return std::nullopt;
  shape = shape.substr(std::strlen(kAfter));
  for (char& c : shape) {
    if (std::strchr("[],", c) != nullptr) c = ' ';
  }
  std::istringstream words(shape);
  std::string word;
  words >> word;
  missing.dtype = parse_dtype(word);
  while (words >> word) missing.dims.push_back(word == "any" ? -1 : std::stoll(word));
  return missing;
}

// The hint for the innermost layer on the tensor's path that has one.
WeightHint hint_of(const std::string& tensor, const WeightHints& hints) {
  for (size_t end = tensor.rfind('.'); end != std::string::npos && end > 0;) {
    const size_t dot = tensor.rfind('.', end - 1);
    const size_t begin = dot == std::string::npos ? 0 : dot + 1;
    const auto it = hints.find(tensor.substr(begin, end - begin));
    if (it != hints.end()) return it->second;
    end = dot;
  }
  const auto otherwise = hints.find("");
  return otherwise == hints.end() ? WeightHint() : otherwise->second;
}

Tensor random_weight(const Missing& missing, const WeightHint& hint, std::mt19937& rng) {
  std::vector<int64_t> dims = missing.open ? hint.shape : hint.stack;
  for (const int64_t d : missing.dims) dims.push_back(d < 0 ? hint.any : d);
  Tensor tensor = make_array(missing.dtype, std::move(dims));
  std::uniform_real_distribution<double> value(-0.5, 0.5);
  // Variances must be positive.
  const bool positive = missing.name.ends_with(".var");
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const auto weight = value(rng);
    tensor.set(i, positive ? 0.5 + std::abs(weight) : weight);
  }
  return tensor;
}

}  // namespace

Weights make_weights(const std::string& config, const WeightHints& hints, std::mt19937& rng,
                     const sl_registry* registry) {
  Weights weights;
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.registry = registry;
  while (true) {
    try {
      const Layer complete(config, weights, &options);
      return weights;
    } catch (const Error& error) {
      const auto missing = parse_missing(error.what());
      if (!missing) throw Error(error.status(), (error.what() + (" in " + config)).c_str());
      const Tensor tensor = random_weight(*missing, hint_of(missing->name, hints), rng);
      weights.add(missing->name, tensor.view());
    }
  }
}

void write_model(const std::string& directory, const std::string& config, const Weights& weights,
                 const std::map<std::string, std::string>& metadata) {
  std::string header, data;
  if (!metadata.empty()) header = R"({"__metadata__":)" + nlohmann::json(metadata).dump();
  for (int64_t i = 0; i < weights.tensor_count(); ++i) {
    const auto [name, tensor] = weights.tensor(i);
    std::string shape;
    size_t bytes = sizeof(float);
    for (int32_t d = 0; d < tensor.rank; ++d) {
      shape += (d > 0 ? "," : "") + std::to_string(tensor.dims[d]);
      bytes *= static_cast<size_t>(tensor.dims[d]);
    }
    header += std::string(header.empty() ? "{" : ",") + "\"" + name +
              R"(":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" +
              std::to_string(data.size()) + "," + std::to_string(data.size() + bytes) + "]}";
    data.append(static_cast<const char*>(tensor.data), bytes);
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t size = header.size();
  std::ofstream(directory + "/config.json") << config;
  std::ofstream file(directory + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  file << header << data;
}

Layer make_model(const std::string& config, int64_t channels, const sl_layer_options* options) {
  std::mt19937 rng(1);
  const Weights weights = make_weights(config, {{"", {channels, {}, {}}}}, rng,
                                       options != nullptr ? options->registry : nullptr);
  return Layer(config, weights, options);
}

const std::vector<Sample>& samples() {
  static const std::vector<Sample> kAll = {
      {"identity", R"({"type":"Identity"})", SL_DTYPE_FLOAT32, {3}},
      {"pointwise",
       R"({"type":"Serial","layers":[{"type":"Tanh"},{"type":"Softmax"}]})",
       SL_DTYPE_FLOAT32,
       {5}},
      {"dense", R"({"type":"Dense","features":7,"activation":"gelu"})", SL_DTYPE_FLOAT32, {4}},
      {"wide dense", R"({"type":"Dense","features":130})", SL_DTYPE_FLOAT32, {70}},
      {"bfloat16 dense",
       R"({"type":"Dense","features":7,"compute_dtype":"bfloat16"})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"einsum",
       R"({"type":"EinsumDense","equation":"...a,abc->...bc","output_shape":[2,3],)"
       R"("bias_axes":"c"})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"causal convolution",
       R"({"type":"Conv1D","filters":3,"kernel_size":4,"dilation_rate":2,)"
       R"("padding":"causal_valid"})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"strided convolution",
       R"({"type":"Conv1D","filters":3,"kernel_size":5,"strides":3,"padding":"causal"})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"convolution with latency",
       R"({"type":"Conv1D","filters":3,"kernel_size":3,"padding":"reverse_causal_valid"})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"grouped convolution",
       R"({"type":"Conv1D","filters":4,"kernel_size":2,"groups":4,"padding":"causal_valid"})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"depthwise convolution",
       R"({"type":"DepthwiseConv1D","kernel_size":3,"padding":"causal_valid",)"
       R"("depth_multiplier":2})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"2-D convolution",
       R"({"type":"Conv2D","filters":2,"kernel_size":3,"strides":[2,1],"time_padding":"causal",)"
       R"("spatial_padding":"same"})",
       SL_DTYPE_FLOAT32,
       {6, 3}},
      {"lstm", R"({"type":"LSTM","units":5})", SL_DTYPE_FLOAT32, {3}},
      {"layer normalization", R"({"type":"LayerNormalization"})", SL_DTYPE_FLOAT32, {5}},
      {"cumulative group normalization",
       R"({"type":"GroupNormalization","num_groups":2,"cumulative":true})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"masked dense",
       R"({"type":"MaskedDense","features":3,"num_steps":64})",
       SL_DTYPE_FLOAT32,
       {4}},
      {"sequence embedding",
       R"({"type":"SequenceEmbedding","dimension":4,"num_embeddings_per_step":9,"num_steps":64})",
       SL_DTYPE_INT32,
       {}},
      {"delay", R"({"type":"Delay","length":3})", SL_DTYPE_FLOAT32, {2}},
      {"lookahead", R"({"type":"Lookahead","length":2})", SL_DTYPE_FLOAT32, {2}},
      {"frame",
       R"({"type":"Frame","frame_length":4,"frame_step":2,"padding":"causal"})",
       SL_DTYPE_FLOAT32,
       {2}},
      {"embedding", R"({"type":"Embedding","dimension":4,"num_embeddings":9})", SL_DTYPE_INT32, {}},
      {"upsample",
       R"({"type":"Serial","layers":[{"type":"Upsample1D","rate":3},{"type":"Exp"}]})",
       SL_DTYPE_FLOAT32,
       {2}},
      {"emit",
       R"({"type":"Serial","layers":[{"type":"Abs"},{"type":"Emit"},{"type":"Relu"}]})",
       SL_DTYPE_FLOAT32,
       {2}},
      {"residual",
       R"({"type":"Residual","layers":[{"type":"Conv1D","filters":3,"kernel_size":3,)"
       R"("padding":"causal_valid"},{"type":"Relu"}]})",
       SL_DTYPE_FLOAT32,
       {3}},
      {"parallel",
       R"({"type":"Parallel","combination":"concat","layers":[{"type":"Dense","features":3},)"
       R"({"type":"LSTM","units":2}]})",
       SL_DTYPE_FLOAT32,
       {3}},
      {"complex", R"({"type":"Abs"})", SL_DTYPE_COMPLEX64, {3}},
      {"half",
       R"({"type":"Serial","layers":[{"type":"Tanh"},{"type":"Delay","length":1}]})",
       SL_DTYPE_BFLOAT16,
       {3}},
  };
  return kAll;
}

int64_t any_size(const Sample& sample) {
  // The last axis of the input decides the size; depthwise and grouped kernels see one channel per
  // group.
  const bool grouped = std::string(sample.config).find("\"groups\"") != std::string::npos;
  const int64_t last = sample.channels.empty() ? 1 : sample.channels.back();
  const bool multiplied = std::string(sample.config).find("multiplier") != std::string::npos;
  return grouped ? 1 : (multiplied ? 2 * last : last);
}

Layer make_sample(const Sample& sample, const sl_layer_options* options) {
  return make_model(sample.config, any_size(sample), options);
}

sl_channel_spec spec_of(const Sample& sample) {
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  spec.dtype = sample.dtype;
  spec.rank = static_cast<int32_t>(sample.channels.size());
  std::copy(sample.channels.begin(), sample.channels.end(), spec.dims);
  return spec;
}

}  // namespace sl::testing
