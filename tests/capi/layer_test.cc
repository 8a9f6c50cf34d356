// Tests layers: creation, properties, descriptions, layer-wise runs.
#include <catch2/catch.hpp>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

constexpr const char* kDense = R"({"type":"Dense","features":2})";

sl_status create(const std::string& config, const sl_layer_options* options, sl_error* error) {
  sl_layer* layer = nullptr;
  const sl_status status =
      sl_layer_create(config.data(), config.size(), nullptr, options, &layer, error);
  CHECK((layer != nullptr) == (status == SL_STATUS_OK));
  sl_layer_free(layer);
  return status;
}

std::string describe(const sl_layer* layer, const sl_channel_spec& input) {
  size_t needed = 0;
  check([&](sl_error* e) {
    return sl_layer_describe(layer, &input, nullptr, 0, nullptr, 0, &needed, e);
  });
  std::string text(needed, '\0');
  check([&](sl_error* e) {
    return sl_layer_describe(layer, &input, nullptr, 0, text.data(), text.size(), &needed, e);
  });
  CHECK(needed == text.size());
  CHECK(text.back() == '\0');
  text.pop_back();
  return text;
}

TEST_CASE("errors of runs and states name the layer by its path", "[layer]") {
  const std::string inner =
      R"({"type":"Serial","name":"encoder","layers":[{"type":"Relu"},)"
      R"({"type":"Repeat","name":"repeat","num_repeats":2,"layer":{"type":"Residual",)"
      R"("name":"block","layers":[{"type":"Dense","features":3,)"
      R"("name":"projection"}]}}]})";
  const std::string config = R"({"type":"Serial","name":"model","layers":[)" + inner + "]}";
  std::mt19937 rng(1);
  const Layer layer(config, make_weights(config, {{"projection", {3, {2}, {}}}}, rng));
  const Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 2, 5});
  Tensor y = x;
  const sl_sequence in = x.view();
  sl_sequence out = y.view();
  const std::string start = "Dense \"encoder.repeat.block.projection\": ";
  CHECK_THAT(failure_of([&](sl_error* e) {
               return sl_layer_apply(layer.get(), &in, &out, nullptr, e);
             }).message,
             Catch::StartsWith(start));
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input.rank = 1;
  options.input.dims[0] = 5;
  CHECK_THAT(failure_of([&](sl_error* e) {
               sl_state* state = nullptr;
               return sl_state_alloc(layer.get(), &options, &state, e);
             }).message,
             Catch::StartsWith(start));
  // The root, which has no path, is named by itself.
  const Layer root = make_model(kDense, 3);
  CHECK_THAT(failure_of([&](sl_error* e) {
               return sl_layer_apply(root.get(), &in, &out, nullptr, e);
             }).message,
             Catch::StartsWith("Dense \"$\": "));
}

TEST_CASE("null pointers are refused by every call on layers", "[layer]") {
  const Layer owned = make_model(R"({"type":"Emit"})");
  const sl_layer* layer = owned.get();
  const sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  sl_channel_spec out_spec = SL_CHANNEL_SPEC_INIT;
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 2});
  const sl_sequence in = x.view();
  sl_sequence out = x.view();
  int64_t n = 0;
  int32_t flag = 0;
  size_t needed = 0;
  sl_layer* made = nullptr;
  const auto refused = [](const char* name, auto&& call) {
    const Failure failure = failure_of(call);
    INFO(name << ": " << failure.message);
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("is null"));
  };
#define REFUSED(...) refused(#__VA_ARGS__, [&](sl_error* e) { return __VA_ARGS__; })
  REFUSED(sl_layer_create(nullptr, 0, nullptr, nullptr, &made, e));
  REFUSED(sl_layer_create("{}", 2, nullptr, nullptr, nullptr, e));
  REFUSED(sl_layer_open(nullptr, nullptr, &made, e));
  REFUSED(sl_layer_open("/nowhere", nullptr, nullptr, e));
  REFUSED(sl_layer_block_size(nullptr, &n, e));
  REFUSED(sl_layer_block_size(layer, nullptr, e));
  REFUSED(sl_layer_output_ratio(nullptr, &n, &n, e));
  REFUSED(sl_layer_output_ratio(layer, nullptr, &n, e));
  REFUSED(sl_layer_output_ratio(layer, &n, nullptr, e));
  REFUSED(sl_layer_supports_step(nullptr, &flag, e));
  REFUSED(sl_layer_supports_step(layer, nullptr, e));
  REFUSED(sl_layer_input_latency(nullptr, &n, e));
  REFUSED(sl_layer_input_latency(layer, nullptr, e));
  REFUSED(sl_layer_output_latency(nullptr, &n, e));
  REFUSED(sl_layer_output_latency(layer, nullptr, e));
  REFUSED(sl_layer_receptive_field(nullptr, &flag, &n, &n, e));
  REFUSED(sl_layer_receptive_field(layer, nullptr, &n, &n, e));
  REFUSED(sl_layer_receptive_field(layer, &flag, nullptr, &n, e));
  REFUSED(sl_layer_receptive_field(layer, &flag, &n, nullptr, e));
  REFUSED(sl_layer_receptive_field_count(nullptr, e));
  REFUSED(sl_layer_receptive_field_at(nullptr, 0, &flag, &n, &n, e));
  REFUSED(sl_layer_receptive_field_at(layer, 0, nullptr, &n, &n, e));
  REFUSED(sl_layer_output_spec(nullptr, &spec, nullptr, 0, &out_spec, e));
  REFUSED(sl_layer_output_spec(layer, nullptr, nullptr, 0, &out_spec, e));
  REFUSED(sl_layer_output_spec(layer, &spec, nullptr, 0, nullptr, e));
  REFUSED(sl_layer_output_spec(layer, &spec, nullptr, 1, &out_spec, e));
  REFUSED(sl_layer_input_spec(nullptr, &out_spec, e));
  REFUSED(sl_layer_describe(nullptr, &spec, nullptr, 0, nullptr, 0, &needed, e));
  REFUSED(sl_layer_describe(layer, nullptr, nullptr, 0, nullptr, 0, &needed, e));
  REFUSED(sl_layer_output_shape(nullptr, SL_MODE_LAYER, &in, nullptr, &out, e));
  REFUSED(sl_layer_output_shape(layer, SL_MODE_LAYER, nullptr, nullptr, &out, e));
  REFUSED(sl_layer_output_shape(layer, SL_MODE_LAYER, &in, nullptr, nullptr, e));
  REFUSED(sl_layer_emit_count(nullptr, &spec, nullptr, 0, e));
  REFUSED(sl_layer_emit_count(layer, nullptr, nullptr, 0, e));
  CHECK(sl_layer_receptive_field_count(nullptr, nullptr) == -1);
  CHECK(sl_layer_emit_count(nullptr, &spec, nullptr, 0, nullptr) == -1);
  REFUSED(sl_layer_emit_shape(nullptr, SL_MODE_LAYER, &in, nullptr, 0, nullptr, 0, &out, e));
  REFUSED(sl_layer_emit_shape(layer, SL_MODE_LAYER, nullptr, nullptr, 0, nullptr, 0, &out, e));
  REFUSED(sl_layer_emit_shape(layer, SL_MODE_LAYER, &in, nullptr, 0, nullptr, 0, nullptr, e));
  REFUSED(sl_layer_apply(nullptr, &in, &out, nullptr, e));
  REFUSED(sl_layer_apply(layer, nullptr, &out, nullptr, e));
  REFUSED(sl_layer_apply(layer, &in, nullptr, nullptr, e));
  sl_run_options options = SL_RUN_OPTIONS_INIT;
  options.num_emits = 1;
  REFUSED(sl_layer_apply(layer, &in, &out, &options, e));
  options = SL_RUN_OPTIONS_INIT;
  options.num_constants = 1;
  REFUSED(sl_layer_apply(layer, &in, &out, &options, e));
#undef REFUSED
  CHECK(sl_layer_parameter_count(nullptr) == 0);
}

TEST_CASE("bad options of a layer", "[layer]") {
  const auto message = [](const sl_layer_options& options) {
    const Failure failure =
        failure_of([&](sl_error* e) { return create(R"({"type":"Relu"})", &options, e); });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    return failure.message;
  };
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.struct_size = 3;
  CHECK_THAT(message(options), Contains("options.struct_size is 3: expected 0, or the struct's"));
  options = SL_LAYER_OPTIONS_INIT;
  for (const int32_t threads : {-1, 257}) {
    options.num_threads = threads;
    CHECK_THAT(message(options), Contains("expected 1 to 256"));
  }
  options = SL_LAYER_OPTIONS_INIT;
  sl_allocator allocator = SL_ALLOCATOR_INIT;
  allocator.deallocate = [](void*, void*, size_t, size_t) {};
  options.allocator = &allocator;
  CHECK_THAT(message(options), Contains("allocate and deallocate are both needed"));
  allocator.struct_size = 2;
  CHECK_THAT(message(options), Contains("allocator.struct_size is 2"));
}

TEST_CASE("weights that do not fit the config", "[layer]") {
  sl_error error = SL_ERROR_INIT;
  CHECK(create(kDense, nullptr, &error) == SL_STATUS_WEIGHTS);
  CHECK(error.code == SL_STATUS_WEIGHTS);
  CHECK(std::string(error.message) ==
        "tensor \"params.kernel\" is missing: expected float32 [any, 2]");
}

TEST_CASE("errors are cut to the caller's buffer", "[error]") {
  const std::string config = "{\"type\":\"" + std::string(2000, 'x') + "\"}";
  sl_error error = SL_ERROR_INIT;
  CHECK(create(config, nullptr, &error) == SL_STATUS_CONFIG);
  CHECK(std::string(error.message).size() == sizeof(error.message) - 1);

  // A larger buffer gets a longer message.
  struct {
    sl_error base = SL_ERROR_INIT;
    char more[4000];
  } large;
  large.base.struct_size = sizeof(large);
  CHECK(create(config, nullptr, &large.base) == SL_STATUS_CONFIG);
  const char* message = reinterpret_cast<const char*>(&large) + offsetof(sl_error, message);
  CHECK(std::string(message).size() > 2000);

  // A struct without room for a message gets none.
  sl_error none = SL_ERROR_INIT;
  none.struct_size = 8;
  none.message[0] = 'z';
  CHECK(create(config, nullptr, &none) == SL_STATUS_CONFIG);
  CHECK(none.message[0] == 'z');
}

TEST_CASE("an error is untouched by success", "[error]") {
  sl_error error = SL_ERROR_INIT;
  error.code = 77;
  error.message[0] = 'z';
  CHECK(create(R"({"type":"Relu"})", nullptr, &error) == SL_STATUS_OK);
  CHECK(error.code == 77);
  CHECK(error.message[0] == 'z');
}

TEST_CASE("properties of layers", "[layer]") {
  struct Expected {
    const char* sample;
    int64_t block, numerator, denominator, input_latency, output_latency;
    int64_t start, end;
  };
  const auto expected = std::to_array<Expected>({
      {"identity", 1, 1, 1, 0, 0, 0, 0},
      {"causal convolution", 1, 1, 1, 0, 0, -6, 0},
      {"strided convolution", 3, 1, 3, 0, 0, -4, 0},
      {"convolution with latency", 1, 1, 1, 2, 2, 0, 2},
      {"lstm", 1, 1, 1, 0, 0, -SL_INFINITE, 0},
      {"upsample", 1, 3, 1, 0, 0, 0, 0},
  });
  for (const Expected& e : expected) {
    INFO(e.sample);
    const auto sample = std::find_if(samples().begin(), samples().end(), [&](const Sample& s) {
      return std::string(s.name) == e.sample;
    });
    REQUIRE(sample != samples().end());
    const Layer layer = make_sample(*sample);
    CHECK(layer.block_size() == e.block);
    int64_t numerator = 0, denominator = 0, start = 0, end = 0;
    int32_t exists = 0;
    CHECK(sl_layer_output_ratio(layer.get(), &numerator, &denominator, nullptr) == SL_STATUS_OK);
    CHECK(numerator == e.numerator);
    CHECK(denominator == e.denominator);
    CHECK(layer.input_latency() == e.input_latency);
    CHECK(layer.output_latency() == e.output_latency);
    CHECK(sl_layer_receptive_field(layer.get(), &exists, &start, &end, nullptr) == SL_STATUS_OK);
    CHECK(exists == 1);
    CHECK(start == e.start);
    CHECK(end == e.end);
    const int64_t count = sl_layer_receptive_field_count(layer.get(), nullptr);
    CHECK(count == e.numerator);
    for (int64_t i = 0; i < count; ++i) {
      CHECK(sl_layer_receptive_field_at(layer.get(), i, &exists, &start, &end, nullptr) ==
            SL_STATUS_OK);
      CHECK(start <= end);
    }
    for (const int64_t i : {int64_t{-1}, count}) {
      CHECK(sl_layer_receptive_field_at(layer.get(), i, &exists, &start, &end, nullptr) ==
            SL_STATUS_INVALID_ARGUMENT);
    }
  }
}

TEST_CASE("bad specs and shapes", "[layer]") {
  const Layer layer = make_model(kDense, 3);
  const auto message = [&](const sl_channel_spec& spec, sl_status expected) {
    sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
    const Failure failure = failure_of(
        [&](sl_error* e) { return sl_layer_output_spec(layer.get(), &spec, nullptr, 0, &out, e); });
    CHECK(failure.status == expected);
    return failure.message;
  };
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  for (const int32_t rank : {-1, SL_MAX_CHANNEL_RANK + 1}) {
    spec.rank = rank;
    CHECK_THAT(message(spec, SL_STATUS_INVALID_ARGUMENT), Contains("expected 0 to 8"));
  }
  spec = SL_CHANNEL_SPEC_INIT;
  for (const sl_dtype dtype : {-1, 7, 1000}) {
    spec.dtype = dtype;
    CHECK_THAT(message(spec, SL_STATUS_INVALID_ARGUMENT), Contains("unknown dtype"));
  }
  spec = SL_CHANNEL_SPEC_INIT;
  spec.rank = 1;
  for (const int64_t dim : {int64_t{-1}, INT64_MAX}) {
    spec.dims[0] = dim;
    CHECK_THAT(message(spec, SL_STATUS_INVALID_ARGUMENT), Contains("input.dims[0] is"));
  }
  spec.dims[0] = 4;
  CHECK_THAT(message(spec, SL_STATUS_SHAPE), Contains("Dense"));
  spec.struct_size = 3;
  CHECK_THAT(message(spec, SL_STATUS_INVALID_ARGUMENT), Contains("struct_size is 3"));
}

TEST_CASE("bad sequences", "[layer]") {
  const Layer layer = make_model(R"({"type":"Relu"})");
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 2, 3}), y = x;
  const auto message = [&](const sl_sequence& in, const sl_sequence& out, sl_status expected) {
    sl_sequence result = out;
    const Failure failure = failure_of(
        [&](sl_error* e) { return sl_layer_apply(layer.get(), &in, &result, nullptr, e); });
    CHECK(failure.status == expected);
    return failure.message;
  };
  const sl_sequence good = x.view(), good_out = y.view();
  CHECK(message(good, good_out, SL_STATUS_OK).empty());

  sl_sequence bad = good;
  bad.struct_size = 16;
  CHECK_THAT(message(bad, good_out, SL_STATUS_INVALID_ARGUMENT), Contains("x.struct_size is 16"));
  for (const int32_t rank : {-1, 0, 1, SL_MAX_RANK + 1}) {
    bad = good;
    bad.rank = rank;
    CHECK_THAT(message(bad, good_out, SL_STATUS_INVALID_ARGUMENT), Contains("x.rank is"));
  }
  for (const int64_t dim : {int64_t{-1}, INT64_MIN, INT64_MAX}) {
    bad = good;
    bad.dims[1] = dim;
    CHECK_THAT(message(bad, good_out, SL_STATUS_INVALID_ARGUMENT), Contains("x.dims[1] is"));
  }
  bad = good;  // the product exceeds 64 bits
  bad.dims[0] = bad.dims[1] = bad.dims[2] = int64_t{1} << 30;
  CHECK_THAT(message(bad, good_out, SL_STATUS_INVALID_ARGUMENT), Contains("x.dims["));
  bad = good;
  bad.dtype = 99;
  CHECK_THAT(message(bad, good_out, SL_STATUS_INVALID_ARGUMENT), Contains("x: unknown dtype 99"));
  bad = good;
  bad.data = nullptr;
  CHECK(message(bad, good_out, SL_STATUS_INVALID_ARGUMENT) == "x.data is null");
  bad = good_out;
  bad.data = nullptr;
  CHECK(message(good, bad, SL_STATUS_INVALID_ARGUMENT) == "y.data is null");

  bad = good_out;
  bad.dims[1] = 3;
  CHECK(message(good, bad, SL_STATUS_SHAPE) ==
        "y is float32 [1, 3, 3]: expected float32 [1, 2, 3]");
  bad = good_out;
  bad.dtype = SL_DTYPE_INT32;
  CHECK(message(good, bad, SL_STATUS_SHAPE) == "y is int32 [1, 2, 3]: expected float32 [1, 2, 3]");
  bad = good_out;
  bad.rank = 2;
  CHECK(message(good, bad, SL_STATUS_SHAPE) == "y is float32 [1, 2]: expected float32 [1, 2, 3]");
  bad = good;  // an array without time is no sequence
  bad.is_array = 1;
  bad.rank = 1;
  CHECK(message(bad, good_out, SL_STATUS_INVALID_ARGUMENT) != "");
}

TEST_CASE("run modes", "[layer]") {
  const Layer layer = make_model(R"({"type":"Relu"})");
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 2, 3});
  const sl_sequence in = x.view();
  sl_sequence out = SL_SEQUENCE_INIT;
  for (const int32_t mode : {-1, 2}) {
    CHECK(sl_layer_output_shape(layer.get(), mode, &in, nullptr, &out, nullptr) ==
          SL_STATUS_INVALID_ARGUMENT);
  }
  CHECK(sl_layer_output_shape(layer.get(), SL_MODE_STEP, &in, nullptr, &out, nullptr) ==
        SL_STATUS_OK);
  CHECK(out.dims[1] == 2);
}

TEST_CASE("descriptions are JSON that says what the getters say", "[layer]") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    const Layer layer = make_sample(sample);
    const json tree = json::parse(describe(layer.get(), spec_of(sample)));
    CHECK(tree.at("type") == json::parse(sample.config).at("type"));
    CHECK(tree.at("parameters") == sl_layer_parameter_count(layer.get()));
    CHECK(tree.at("block_size") == layer.block_size());
    CHECK(tree.at("input_latency") == layer.input_latency());
    CHECK(tree.at("input").at("channel_shape") == sample.channels);
    CHECK(tree.at("output").contains("channel_shape"));
    CHECK(tree.at("state").is_array());
    CHECK(tree.at("state_bytes").is_number_unsigned());
    CHECK(tree.at("children").is_array());
  }
}

TEST_CASE("a description lists the model's emits and constants", "[layer]") {
  const auto describe_with = [](const Layer& layer, const sl_channel_spec& input,
                                const std::vector<sl_constant>& constants) {
    std::vector<char> text(1 << 16);
    check([&](sl_error* e) {
      return sl_layer_describe(layer.get(), &input, constants.data(),
                               static_cast<int64_t>(constants.size()), text.data(), text.size(),
                               nullptr, e);
    });
    return json::parse(text.data());
  };
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT;
  input.rank = 1;
  input.dims[0] = 3;
  const Layer emitting = make_model(
      R"({"type":"Serial","layers":[{"type":"Abs"},{"type":"Emit","name":"loud"},)"
      R"({"type":"Conv1D","filters":2,"kernel_size":2,"strides":2,"padding":"causal_valid"},)"
      R"({"type":"Serial","name":"inner","layers":[{"type":"Emit","name":"half"}]}]})",
      3);
  json tree = describe_with(emitting, input, {});
  CHECK(tree.at("emits") ==
        json::parse(R"([{"path":"loud","dtype":"float32","shape":[1,2,3]},)"
                    R"({"path":"inner.half","dtype":"float32","shape":[1,1,2]}])"));
  CHECK(tree.at("constant_specs") == json::array());

  const Layer conditioned = make_model(
      R"({"type":"Serial","layers":[{"type":"Conditioning","name":"mix","conditioning_name":"c",)"
      R"("projection":"identity","combination":"add","streaming":true}]})",
      3);
  sl_constant constant = {"c", SL_SEQUENCE_INIT};
  constant.value.rank = 3;
  constant.value.dims[0] = constant.value.dims[1] = 1;
  constant.value.dims[2] = 3;
  tree = describe_with(conditioned, input, {constant});
  CHECK(tree.at("emits") == json::array());
  CHECK(tree.at("constant_specs") ==
        json::parse(R"([{"name":"c","layer":"mix","kind":"any","required":true,)"
                    R"("streamed":true,"dtype":null,"channel_shape":null}])"));

  const Layer attending =
      make_model(R"({"type":"DotProductAttention","name":"look","source_name":"c","num_heads":1,)"
                 R"("units_per_head":2})",
                 3);
  tree = describe_with(attending, input, {constant});
  CHECK(tree.at("constant_specs").at(0).at("kind") == "sequence");
  CHECK(tree.at("constant_specs").at(0).at("channel_shape") == json::array({3}));
  CHECK(tree.at("constant_specs").at(0).at("streamed") == false);
}

TEST_CASE("a description is cut to the buffer and ends in zero", "[layer]") {
  const Layer layer = make_model(R"({"type":"Relu"})");
  const sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  char buffer[9];
  std::fill_n(buffer, 9, 'z');
  size_t needed = 0;
  CHECK(sl_layer_describe(layer.get(), &spec, nullptr, 0, buffer, 8, &needed, nullptr) ==
        SL_STATUS_OK);
  CHECK(needed > 8);
  CHECK(std::string(buffer).size() == 7);
  CHECK(buffer[8] == 'z');
  CHECK(sl_layer_describe(layer.get(), &spec, nullptr, 0, buffer, 8, nullptr, nullptr) ==
        SL_STATUS_OK);
}

TEST_CASE("input specs that nothing tells", "[layer]") {
  const Layer layer = make_model(R"({"type":"Relu"})");
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  CHECK(sl_layer_input_spec(layer.get(), &spec, nullptr) == SL_STATUS_UNSUPPORTED);
  const Layer dense = make_model(kDense, 5);
  CHECK(sl_layer_input_spec(dense.get(), &spec, nullptr) == SL_STATUS_OK);
  CHECK(spec.rank == 1);
  CHECK(spec.dims[0] == 5);
}

TEST_CASE("empty sequences", "[layer]") {
  for (const Sample& sample : samples()) {
    const Layer layer = make_sample(sample);
    for (const auto& [batch, time] : {std::pair<int64_t, int64_t>{2, 0}, {0, 6}, {0, 0}}) {
      INFO(sample.name << " with batch " << batch << " and time " << time);
      std::vector<int64_t> dims = {batch, time};
      dims.insert(dims.end(), sample.channels.begin(), sample.channels.end());
      const Input input{make_sequence(sample.dtype, dims), {}};
      Tensor y;
      CHECK_NOTHROW(y = apply(layer, input));
      if (batch == 0) CHECK(y.size() == 0);
    }
  }
}

TEST_CASE("models on disk", "[layer]") {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / "sl_capi_test_model";
  std::filesystem::create_directories(directory);
  const auto open = [&](sl_error* e) {
    sl_layer* layer = nullptr;
    const sl_status status = sl_layer_open(directory.c_str(), nullptr, &layer, e);
    sl_layer_free(layer);
    return status;
  };
  std::filesystem::remove(directory / "config.json");
  std::filesystem::remove(directory / "model.safetensors");
  Failure failure = failure_of(open);
  CHECK(failure.status == SL_STATUS_IO);
  CHECK_THAT(failure.message, Contains("config.json: cannot be opened"));

  std::ofstream(directory / "config.json") << R"({"type":"Relu"})";
  CHECK(open(nullptr) == SL_STATUS_OK);  // a model without weights needs no file of weights

  std::ofstream(directory / "config.json") << kDense;
  failure = failure_of(open);
  CHECK(failure.status == SL_STATUS_WEIGHTS);
  CHECK_THAT(failure.message, Contains("params.kernel"));

  std::ofstream(directory / "model.safetensors") << "rubbish";
  failure = failure_of(open);
  CHECK(failure.status == SL_STATUS_WEIGHTS);
  CHECK_THAT(failure.message, Contains("model.safetensors: not a safetensors file"));
  std::filesystem::remove_all(directory);
}

TEST_CASE("registered types", "[layer]") {
  const int64_t count = sl_registry_type_count(nullptr);
  CHECK(count > 50);
  std::set<std::string> names;
  std::string last;
  for (int64_t i = 0; i < count; ++i) {
    const std::string name = sl_registry_type(nullptr, i);
    CHECK(last < name);
    last = name;
    names.insert(name);
  }
  CHECK(names.count("Conv1D") == 1);
  CHECK(sl_registry_type(nullptr, -1) == nullptr);
  CHECK(sl_registry_type(nullptr, count) == nullptr);
}

TEST_CASE("times that 64 bits cannot count are an error of the config", "[layer]") {
  const std::string down = R"({"type":"Downsample1D","rate":2147483648})";
  const auto serial = [](const std::string& layers) {
    return R"({"type":"Serial","layers":[)" + layers + "]}";
  };
  const Failure failure = failure_of([&](sl_error* e) {
    return create(serial(R"({"type":"Relu"},)" + serial(down + "," + down + "," + down)), nullptr,
                  e);
  });
  CHECK(failure.status == SL_STATUS_CONFIG);
  CHECK_THAT(failure.message, Contains("$.layers[1] (Serial): "));
  CHECK_THAT(failure.message, Contains("must fit 64 bits"));

  // This rate fits into 64 bits: only the receptive field per step does not.
  const Layer up = make_model(R"({"type":"Upsample1D","rate":2147483648})");
  const Failure field =
      failure_of([&](sl_error* e) { return sl_layer_receptive_field_count(up.get(), e); });
  CHECK(field.status == SL_STATUS_UNSUPPORTED);
  CHECK_THAT(field.message, Contains("2147483648 steps"));
}

TEST_CASE("layers of one scope need different names", "[layer]") {
  const auto message = [](const std::string& config) {
    const Failure failure = failure_of([&](sl_error* e) { return create(config, nullptr, e); });
    CHECK(failure.status == (failure.message.empty() ? SL_STATUS_OK : SL_STATUS_CONFIG));
    return failure.message;
  };
  const std::string relu = R"({"type":"Relu","name":"r"})";
  const std::string inner = R"({"type":"Serial","layers":[)" + relu + "]}";
  CHECK_THAT(message(R"({"type":"Serial","layers":[)" + relu + "," + relu + "]}"),
             Contains(R"($.layers[1]: the name "r" is taken by $.layers[0])"));
  CHECK_THAT(message(R"({"type":"Serial","layers":[{"type":"Relu","name":"layers_1"},)"
                     R"({"type":"Relu"}]})"),
             Contains(R"("layers_1" is taken)"));
  CHECK_THAT(message(R"({"type":"Serial","share_scope":[true,false],"layers":[)" + inner + "," +
                     relu + "]}"),
             Contains(R"($.layers[1]: the name "r" is taken by $.layers[0].layers[0])"));
  CHECK_THAT(
      message(R"({"type":"Bidirectional","forward":)" + relu + R"(,"backward":)" + relu + "}"),
      Contains(R"($.backward: the name "r")"));
  CHECK_THAT(message(R"({"type":"Residual","layers":[{"type":"Relu","name":"shortcut_layer"}]})"),
             Contains(R"("shortcut_layer" is taken)"));
  // A child that shares its parent's scope still needs a name that is free there.
  CHECK_THAT(message(R"({"type":"Blockwise","block_size":4,"child_layer":)"
                     R"({"type":"Blockwise","block_size":2,"child_layer":{"type":"Relu"}}})"),
             Contains(R"("child_layer" is taken by $.child_layer)"));
  CHECK(message(R"({"type":"Serial","layers":[)" + inner + "," + relu + "]}") == "");
  CHECK(message(R"({"type":"Repeat","num_repeats":3,"layer":)" + inner + "}") == "");
  CHECK(message(R"({"type":"Serial","share_scope":[],"layers":[{"type":"Relu","name":""},)"
                R"({"type":"Relu","name":""}]})") == "");
  CHECK(message(R"({"type":"Serial","name":"r","layers":[)" + relu + "]}") == "");
}

TEST_CASE("layers that share a scope cannot have the same variables", "[layer]") {
  const std::string shared =
      R"({"type":"Serial","share_scope":true,"layers":[{"type":"PRelu"},{"type":"PRelu"}]})";
  CHECK_THROWS_WITH(
      make_model(shared),
      Contains(R"($.layers[1]: tensor "params.negative_slope" belongs to $.layers[0])"));
}

TEST_CASE("errors of the root name it", "[layer]") {
  const Layer layer = make_model(R"({"type":"ParallelChannels","num_groups":2,)"
                                 R"("child_layer":{"type":"Relu"}})");
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT, output = SL_CHANNEL_SPEC_INIT;
  input.rank = 1;
  input.dims[0] = 3;
  const Failure failure = failure_of([&](sl_error* e) {
    return sl_layer_output_spec(layer.get(), &input, nullptr, 0, &output, e);
  });
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK_THAT(failure.message, Contains(R"(ParallelChannels "$")"));
}

}  // namespace
}  // namespace sl::testing
