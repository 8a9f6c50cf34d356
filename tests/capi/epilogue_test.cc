// Tests that a convolution does the work of the layers behind it.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/model.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

std::string normalized(const std::string& convolution, const std::string& between,
                       const std::string& function) {
  return R"({"type":"Serial","layers":[)" + convolution + between +
         R"(,{"type":"BatchNormalization","name":"norm"})" + between + R"(,{"type":")" + function +
         R"("}]})";
}

// Whether a run of the layer calls one of that type, which it lists in any case.
bool runs(const Layer& layer, const Input& input, const std::string& type) {
  const sequence_layers::Profile profile;
  apply(layer, input, nullptr, profile.get());
  const auto layers = nlohmann::json::parse(profile.describe())["layers"];
  const auto entry =
      std::ranges::find_if(layers, [&](const auto& layer) { return layer["type"] == type; });
  REQUIRE(entry != layers.end());
  const auto& doer = (*entry)["folded_into"];
  if (doer.is_null()) return true;
  CHECK(layers[doer.get<size_t>()]["path"] == "conv");
  CHECK((*entry)["self_seconds"] == 0);
  return false;
}

std::string saved(const Layer& layer) {
  const std::filesystem::path path = std::filesystem::temp_directory_path() /
                                     ("epilogue_" + std::to_string(getpid()) + ".safetensors");
  layer.save_weights(path.string());
  const std::string bytes = read_file(path.string());
  std::filesystem::remove(path);
  return bytes;
}

TEST_CASE("a convolution takes over batch normalization and activation", "[epilogue]") {
  const struct {
    const char* convolution;
    std::vector<int64_t> dims;
    int64_t depth;  // of the kernel
    int64_t filters;
  } cases[] = {
      {R"({"type":"Conv1D","name":"conv","filters":20,"kernel_size":3})", {2, 30, 40}, 40, 20},
      {R"({"type":"Conv1D","name":"conv","filters":6,"kernel_size":3,"groups":2})",
       {2, 30, 8},
       4,
       6},
      {R"({"type":"Conv1D","name":"conv","filters":2,"kernel_size":3,"use_bias":false})",
       {2, 30, 40},
       40,
       2},
      {R"({"type":"DepthwiseConv1D","name":"conv","kernel_size":3,"depth_multiplier":2})",
       {2, 30, 5},
       10,
       10},
      {R"({"type":"Conv2D","name":"conv","filters":20,"kernel_size":[3,3]})", {2, 30, 7, 3}, 3, 20},
      {R"({"type":"Conv2D","name":"conv","filters":6,"kernel_size":[3,3],"groups":2})",
       {2, 30, 7, 40},
       20,
       6},
  };
  const sl_dtype dtype =
      GENERATE(values<sl_dtype>({SL_DTYPE_FLOAT32, SL_DTYPE_BFLOAT16, SL_DTYPE_COMPLEX64}));
  const char* format = GENERATE("float32", "int8");
  const std::string function = dtype == SL_DTYPE_COMPLEX64 ? "Tanh" : "LeakyRelu";
  for (const auto& c : cases) {
    CAPTURE(c.convolution, dtype, format);
    // Identity between the layers keeps them apart.
    const std::string together = normalized(c.convolution, "", function);
    const std::string apart = normalized(c.convolution, R"(,{"type":"Identity"})", function);
    std::mt19937 rng(1);
    const WeightHints hints = {{"conv", {c.depth, {}, {}}}, {"norm", {c.filters, {}, {}}}};
    const Weights weights = make_weights(together, hints, rng);
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.weight_format = format;
    const Layer one(together, weights, &options), all(apart, weights, &options);
    const Input input{random_sequence(dtype, c.dims, rng), {}};
    const Comparison comparison =
        compare_sequences(apply(one, input), apply(all, input), {1e-5, 1e-5});
    CHECK(comparison.reason == "");
    for (const std::string& type : {std::string("BatchNormalization"), function}) {
      CHECK_FALSE(runs(one, input, type));
      CHECK(runs(all, input, type));
    }
    CHECK(saved(one) == saved(all));
  }
}

TEST_CASE("a convolution takes over only what follows it at once and fits", "[epilogue]") {
  const struct {
    const char* layers;
    const char* type;  // that still runs
  } cases[] = {
      {R"({"type":"Conv1D","filters":3,"kernel_size":3,"activation":"tanh"},)"
       R"({"type":"BatchNormalization"})",
       "BatchNormalization"},
      {R"({"type":"Conv1D","filters":3,"kernel_size":3,"compute_dtype":"bfloat16"},)"
       R"({"type":"BatchNormalization"})",
       "BatchNormalization"},
      {R"({"type":"Conv2D","filters":3,"kernel_size":[3,3]},)"
       R"({"type":"BatchNormalization","axis":2})",
       "BatchNormalization"},
      {R"({"type":"Conv1D","filters":3,"kernel_size":3},{"type":"Relu"},{"type":"Tanh"})", "Tanh"},
      {R"({"type":"Conv1D","filters":3,"kernel_size":3},{"type":"Abs"})", "Abs"},
  };
  for (const auto& c : cases) {
    INFO(c.layers);
    const std::string config = std::string(R"({"type":"Serial","layers":[)") + c.layers + "]}";
    const Layer layer = make_model(config, 3);
    std::vector<int64_t> dims = {2, 10, 3};
    if (config.find("Conv2D") != std::string::npos) dims.insert(dims.begin() + 2, 3);
    std::mt19937 rng(1);
    CHECK(runs(layer, {random_sequence(SL_DTYPE_FLOAT32, dims, rng), {}}, c.type));
  }
}

}  // namespace
}  // namespace sl::testing
