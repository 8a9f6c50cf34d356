// Reads arbitrary bytes as a weights file: they must be refused, or give tensors of which every
// byte can be read.
#include <cstdlib>
#include <cstring>

#include "fuzz/target.h"
#include "fuzz/tree.h"
#include "sequence_layers/sequence_layers.h"

namespace sl::fuzz {
namespace {

std::string image(const std::string& header, size_t data) {
  const uint64_t size = header.size();
  std::string out(sizeof(size), '\0');
  std::memcpy(out.data(), &size, sizeof(size));
  return out + header + std::string(data, '\x3f');
}

// A packed Dense with a kernel [3, 2] and a bias.
std::string packed_image(const std::string& format, size_t bytes) {
  const std::string end = std::to_string(bytes);
  return image(R"({"__metadata__":{"packed":"{\"version\":1,\"fingerprint\":\"1f\",\"tensors\":)"
               R"({\"params.kernel\":{\"dtype\":\"float32\",\"shape\":[3,2]}},\"panels\":)"
               R"({\"params.kernel@panels\":{\"format\":\")" +
                   format +
                   R"(\",\"count\":1,\"inputs\":3,\"outputs\":2}}}"},)"
                   R"("params.kernel@panels":{"dtype":"I8","shape":[)" +
                   end + R"(],"data_offsets":[0,)" + end +
                   R"(]},"params.bias":{"dtype":"F32","shape":[2],"data_offsets":[)" + end + ',' +
                   std::to_string(bytes + 8) + "]}}",
               bytes + 8);
}

// Runs a layer once, so that it reads all of its weights.
void apply(const sl_layer* layer) {
  const float values[3] = {1, -2, 3};
  float results[2] = {};
  sl_sequence x = SL_SEQUENCE_INIT, y = SL_SEQUENCE_INIT;
  x.dtype = y.dtype = SL_DTYPE_FLOAT32;
  x.rank = y.rank = 3;
  x.dims[0] = x.dims[1] = y.dims[0] = y.dims[1] = 1;
  x.dims[2] = 3;
  y.dims[2] = 2;
  x.data = const_cast<float*>(values);
  y.data = results;
  sl_layer_apply(layer, &x, &y, nullptr, nullptr);
}

// Reads all elements of a tensor.
uint64_t sum(const sl_sequence& tensor) {
  auto bytes = static_cast<int64_t>(sl_dtype_size(tensor.dtype));
  for (int32_t i = 0; i < tensor.rank; ++i) bytes *= tensor.dims[i];
  uint64_t total = 0;
  const auto* data = static_cast<const uint8_t*>(tensor.data);
  for (int64_t i = 0; i < bytes; ++i) total += data[i];
  return total;
}

volatile uint64_t kept;

}  // namespace

std::vector<std::string> corpus() {
  std::vector<std::string> all = {
      image("{}", 0),
      image(R"({"params.kernel":{"dtype":"F32","shape":[3,2],"data_offsets":[8,32]},)"
            R"("params.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
            32),
      image(R"({"__metadata__":{"input":"{\"channel_shape\":[3],\"dtype\":\"float32\"}"},)"
            R"("params.kernel":{"dtype":"BF16","shape":[3,2],"data_offsets":[0,12]},)"
            R"("params.bias":{"dtype":"F16","shape":[2],"data_offsets":[12,16]}})",
            16),
      image(R"({"w@complex64":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
            R"("m":{"dtype":"BOOL","shape":[0,4],"data_offsets":[16,16]}})",
            16),
  };
  // Packed matrices of each format.
  for (const auto& [format, bytes] :
       {std::pair("float32", 192), std::pair("bfloat16", 128), std::pair("int8", 576)}) {
    all.push_back(packed_image(format, static_cast<size_t>(bytes)));
  }
  append_tree_files(".safetensors", &all);
  return all;
}

std::vector<std::string> dictionary() {
  return {"\"dtype\":",
          "\"shape\":",
          "\"data_offsets\":",
          "\"__metadata__\":",
          "\"F32\"",
          "\"F16\"",
          "\"BF16\"",
          "\"I32\"",
          "\"I8\"",
          "\"BOOL\"",
          "@complex64",
          "@panels",
          R"(\"version\":)",
          R"(\"panels\":)",
          R"(\"inputs\":)",
          R"(\"int4\")",
          "[",
          "]",
          "{",
          "}",
          "0",
          "-1",
          "1",
          "3",
          "8",
          "1099511627776",
          "18446744073709551615",
          "4294967296",
          "1e3",
          "null",
          "[[[[[[[[[[[[",
          std::string(8, '\0'),
          std::string(8, '\xff'),
          std::string("\x02\0\0\0\0\0\0\0", 8)};
}

}  // namespace sl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of exact size, so that a sanitizer detects reads beyond the end.
  const std::vector<uint8_t> bytes(data, data + size);
  sl_weights* weights = nullptr;
  sl_error error = SL_ERROR_INIT;
  const void* start = bytes.empty() ? static_cast<const void*>("") : bytes.data();
  const sl_status status = sl_weights_read(start, size, &weights, &error);
  if (status != SL_STATUS_OK) {
    if (status != SL_STATUS_WEIGHTS || error.message[0] == '\0') std::abort();
    return 0;
  }
  for (int64_t i = 0; i < sl_weights_tensor_count(weights); ++i) {
    const char* name = nullptr;
    sl_sequence tensor = SL_SEQUENCE_INIT;
    if (sl_weights_tensor(weights, i, &name, &tensor, nullptr) != SL_STATUS_OK) std::abort();
    sl::fuzz::kept = sl::fuzz::sum(tensor) + std::strlen(name);
  }
  static const char config[] = R"({"type":"Dense","features":2})";
  sl_layer* layer = nullptr;
  if (sl_layer_create(config, sizeof(config) - 1, weights, nullptr, &layer, nullptr) ==
      SL_STATUS_OK) {
    sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
    sl_layer_input_spec(layer, &spec, nullptr);
    sl::fuzz::apply(layer);
  }
  sl_weights_free(weights);
  sl_layer_free(layer);
  return 0;
}
