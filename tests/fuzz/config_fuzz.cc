// Reads arbitrary text as a config: it must be refused, or give a layer that can be queried and
// run.
#include <nlohmann/json.hpp>
#include <vector>

#include "fuzz/limited_memory.h"
#include "fuzz/target.h"
#include "fuzz/tree.h"
#include "support/models.h"

namespace sl::fuzz {
namespace {

// Limits outputs, as larger ones take time and find no more faults.
constexpr int64_t kMaxElements = 1 << 16;

void ask(const sl_layer* layer) {
  int64_t a = 0, b = 0;
  int32_t flag = 0;
  sl_layer_block_size(layer, &a, nullptr);
  sl_layer_output_ratio(layer, &a, &b, nullptr);
  sl_layer_supports_step(layer, &flag, nullptr);
  sl_layer_input_latency(layer, &a, nullptr);
  sl_layer_output_latency(layer, &a, nullptr);
  sl_layer_receptive_field(layer, &flag, &a, &b, nullptr);
  const int64_t count = sl_layer_receptive_field_count(layer, nullptr);
  if (count > 0) sl_layer_receptive_field_at(layer, count - 1, &flag, &a, &b, nullptr);
}

// Memory for a sequence of that shape, of exact size; empty if it is too large.
std::vector<uint8_t> room_for(sl_sequence* sequence) {
  auto size = static_cast<int64_t>(sl_dtype_size(sequence->dtype));
  for (int32_t i = 0; i < sequence->rank; ++i) {
    if (sequence->dims[i] > kMaxElements) return {};
    size *= sequence->dims[i];
    if (size > kMaxElements) return {};
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(size) + 1, 1);
  sequence->data = bytes.data();
  return bytes;
}

void run(const sl_layer* layer, const sl_channel_spec& spec, const sl_allocator* memory) {
  size_t needed = 0;
  sl_layer_describe(layer, &spec, nullptr, 0, nullptr, 0, &needed, nullptr);
  int64_t block = 1;
  sl_layer_block_size(layer, &block, nullptr);
  if (block < 1 || block > 1024) return;
  sl_sequence x = SL_SEQUENCE_INIT;
  x.dtype = spec.dtype;
  x.rank = spec.rank + 2;
  x.dims[0] = 2;
  x.dims[1] = 2 * block;
  std::copy(spec.dims, spec.dims + spec.rank, x.dims + 2);
  const std::vector<uint8_t> in = room_for(&x);
  sl_sequence y = SL_SEQUENCE_INIT;
  if (in.empty()) return;
  if (sl_layer_output_shape(layer, SL_MODE_LAYER, &x, nullptr, &y, nullptr) == SL_STATUS_OK) {
    const std::vector<uint8_t> out = room_for(&y);
    if (!out.empty()) sl_layer_apply(layer, &x, &y, nullptr, nullptr);
  }
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = 2;
  options.max_steps = x.dims[1];
  options.input = spec;
  options.allocator = memory;
  sl_state* state = nullptr;
  if (sl_state_alloc(layer, &options, &state, nullptr) != SL_STATUS_OK) return;
  if (sl_layer_output_shape(layer, SL_MODE_STEP, &x, nullptr, &y, nullptr) == SL_STATUS_OK) {
    const std::vector<uint8_t> out = room_for(&y);
    if (!out.empty()) sl_layer_step(layer, state, &x, &y, nullptr, nullptr);
  }
  sl_state_free(state);
}

sl_channel_spec spec(sl_dtype dtype, std::vector<int64_t> dims) {
  sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
  out.dtype = dtype;
  out.rank = static_cast<int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), out.dims);
  return out;
}

}  // namespace

std::vector<std::string> corpus() {
  std::vector<std::string> all = {
      R"({"type":"Reshape","output_shape":[2,2]})",
      R"({"type":"EinopsRearrange","pattern":"(a b) -> b a","axes_lengths":{"a":2}})",
      R"({"type":"Slice","slices":[{"slice":[0,null,2]}]})",
      R"({"type":"Transpose","axes":[3,2]})",
      R"({"type":"Repeat","num_repeats":3,"layer":{"type":"Delay","length":2}})",
      R"({"type":"Parallel","combination":"stack","layers":[{"type":"Exp"},{"type":"Log"}]})",
      R"({"type":"Downsample1D","rate":2})",
      R"({"type":"OneHot","depth":5})",
      R"({"type":"GatedUnit","feature_activation":"tanh","gate_activation":"sigmoid"})",
      R"({"type":"Power","power":2.5})",
      R"({"type":"Add","shift":[0.5,{"complex":[1,2]}]})",
      R"({"type":"GlobalReshape","output_shape":[2,-1]})",
  };
  for (const testing::Sample& sample : testing::samples()) all.emplace_back(sample.config);
  for (const std::filesystem::path& path : tree_paths("golden", ".json")) {
    const auto golden = nlohmann::ordered_json::parse(read_all(path));
    for (const auto& recorded : golden.at("cases")) all.push_back(recorded.at("config").dump());
  }
  for (const char* directory : {"faults/inputs/models", "faults/inputs/trust"}) {
    for (const std::filesystem::path& path : tree_paths(directory, ".json"))
      all.push_back(read_all(path));
  }
  return all;
}

std::vector<std::string> dictionary() {
  std::vector<std::string> all = {"\"type\":",
                                  "\"layers\":[",
                                  "\"layer\":",
                                  "\"length\":",
                                  "\"rate\":",
                                  "\"axis\":",
                                  "\"padding\":",
                                  "\"causal\"",
                                  "\"name\":\"x\",",
                                  "\"shape\":",
                                  "\"pattern\":",
                                  "{",
                                  "}",
                                  "[",
                                  "]",
                                  ",",
                                  "\"",
                                  "null",
                                  "true",
                                  "false",
                                  "0",
                                  "-1",
                                  "1",
                                  "2",
                                  "7",
                                  "2147483648",
                                  "9223372036854775807",
                                  "18446744073709551615",
                                  "1e308",
                                  "-0.0",
                                  "0.5",
                                  "\"inf\"",
                                  "\"nan\"",
                                  "\\u0000",
                                  "\xff",
                                  "{\"type\":\"Relu\"}",
                                  "{\"type\":\"Serial\",\"layers\":[]}"};
  for (int64_t i = 0; i < sl_registry_type_count(nullptr); ++i) {
    all.push_back("{\"type\":\"" + std::string(sl_registry_type(nullptr, i)) + "\"}");
  }
  return all;
}

}  // namespace sl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sl::fuzz::spec;
  sl::fuzz::LimitedMemory memory;
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.allocator = memory.hook();
  sl_layer* layer = nullptr;
  sl_error error = SL_ERROR_INIT;
  const char* text = reinterpret_cast<const char*>(data);
  const sl_status status =
      sl_layer_create(size > 0 ? text : "", size, nullptr, &options, &layer, &error);
  if (status == SL_STATUS_INTERNAL || (status != SL_STATUS_OK && error.message[0] == '\0')) {
    std::abort();  // every error must state its reason
  }
  if (status != SL_STATUS_OK) return 0;
  sl::fuzz::ask(layer);
  for (const sl_channel_spec& input : {spec(SL_DTYPE_FLOAT32, {4}), spec(SL_DTYPE_FLOAT32, {2, 3}),
                                       spec(SL_DTYPE_INT32, {}), spec(SL_DTYPE_COMPLEX64, {2})}) {
    sl::fuzz::run(layer, input, memory.hook());
  }
  sl_layer_free(layer);
  return 0;
}
