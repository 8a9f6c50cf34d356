// Tests sets of weights: from memory, from files, and built tensor by tensor.
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kConfig = R"({"type":"Dense","features":2})";

// A safetensors image with the kernel [3, 2] and bias [2] of kConfig.
std::string dense_image() {
  const std::string header =
      R"({"__metadata__":{"input":"{\"channel_shape\":[3],\"dtype\":\"float32\"}"},)"
      R"("params.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("params.kernel":{"dtype":"F32","shape":[3,2],"data_offsets":[8,32]}})";
  const float values[] = {0.5f, -1, 1, 2, 3, 4, 5, 6};
  const uint64_t size = header.size();
  std::string image(sizeof(size) + header.size() + sizeof(values), '\0');
  std::memcpy(image.data(), &size, sizeof(size));
  std::memcpy(image.data() + sizeof(size), header.data(), header.size());
  std::memcpy(image.data() + sizeof(size) + header.size(), values, sizeof(values));
  return image;
}

Weights read(const std::string& image) { return Weights::read(image.data(), image.size()); }

Layer create(const Weights& weights) { return Layer(kConfig, weights); }

// A new set, to which all tensors of the given one are added one by one.
Weights copy(const Weights& from) {
  Weights out;
  for (int64_t i = 0; i < from.tensor_count(); ++i) {
    const auto [name, tensor] = from.tensor(i);
    out.add(name, tensor);
  }
  return out;
}

TEST_CASE("weights from a file, from memory and one by one give the same model", "[weights]") {
  const std::string path =
      std::filesystem::temp_directory_path() / "sl_capi_test_weights.safetensors";
  std::string image = dense_image();
  std::ofstream(path, std::ios::binary) << image;
  const Weights opened = Weights::open(path);
  const Weights from_memory = read(image);
  std::fill(image.begin(), image.end(), 'x');  // the set has copied the bytes
  std::remove(path.c_str());                   // the set keeps the file mapped
  const Weights copied = copy(opened);

  std::mt19937 rng(7);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {2, 5, 3}, rng), {}};
  const Tensor want = apply(create(opened), input);
  CHECK(compare_bits(apply(create(from_memory), input), want).reason == "");
  CHECK(compare_bits(apply(create(copied), input), want).reason == "");
}

TEST_CASE("a layer keeps its weights alive", "[weights]") {
  Weights weights = read(dense_image());
  const Layer layer = create(weights);
  weights = Weights();
  const Input input{make_sequence(SL_DTYPE_FLOAT32, {1, 1, 3}), {}};
  const Tensor y = apply(layer, input);
  CHECK(y.at(0).real() == 0.5);
  CHECK(y.at(1).real() == -1);
  CHECK(sl_layer_parameter_count(layer.get()) == 8);
}

TEST_CASE("a set of weights lists its tensors", "[weights]") {
  const Weights weights = read(dense_image());
  REQUIRE(sl_weights_tensor_count(weights.get()) == 2);
  const char* name = nullptr;
  sl_sequence tensor = SL_SEQUENCE_INIT;
  CHECK(sl_weights_tensor(weights.get(), 0, &name, &tensor, nullptr) == SL_STATUS_OK);
  CHECK(std::string(name) == "params.bias");
  CHECK(sl_weights_find(weights.get(), "params.kernel", &tensor, nullptr) == SL_STATUS_OK);
  CHECK(tensor.is_array == 1);
  CHECK(tensor.rank == 2);
  CHECK(tensor.dims[0] == 3);
  CHECK(static_cast<const float*>(tensor.data)[5] == 6);
  CHECK(std::string(sl_weights_metadata(weights.get(), "input")) ==
        R"({"channel_shape":[3],"dtype":"float32"})");
  CHECK(sl_weights_metadata(weights.get(), "output") == nullptr);
  CHECK(sl_weights_metadata(weights.get(), nullptr) == nullptr);
  CHECK(sl_weights_metadata(nullptr, "input") == nullptr);
  CHECK(sl_weights_tensor_count(nullptr) == 0);
}

TEST_CASE("a layer gives access to the metadata of its weights", "[weights]") {
  Weights weights = read(dense_image());
  const Layer layer = create(weights);
  weights = Weights();  // the layer keeps the weights alive
  CHECK(std::string(sl_layer_metadata(layer.get(), "input")) ==
        R"({"channel_shape":[3],"dtype":"float32"})");
  CHECK(sl_layer_metadata(layer.get(), "sample_rate") == nullptr);
  CHECK(sl_layer_metadata(layer.get(), nullptr) == nullptr);
  CHECK(sl_layer_metadata(nullptr, "input") == nullptr);
  CHECK(sl_layer_metadata(make_model(R"({"type":"Relu"})").get(), "input") == nullptr);
}

TEST_CASE("the recorded input spec", "[weights]") {
  const auto spec_with = [](const std::string& metadata, sl_channel_spec* spec) {
    const std::string header = R"({"__metadata__":{"input":)" + metadata + "}}";
    const uint64_t size = header.size();
    std::string image(sizeof(size), '\0');
    std::memcpy(image.data(), &size, sizeof(size));
    const Weights weights = read(image + header);
    const std::string config = R"({"type":"Relu"})";
    const Layer layer(config, weights);
    return failure_of([&](sl_error* e) { return sl_layer_input_spec(layer.get(), spec, e); });
  };
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  CHECK(spec_with(R"("{\"channel_shape\":[3,4],\"dtype\":\"int32\"}")", &spec).status ==
        SL_STATUS_OK);
  CHECK(spec.dtype == SL_DTYPE_INT32);
  CHECK(spec.rank == 2);
  CHECK(spec.dims[1] == 4);
  for (const char* bad : {R"("rubbish")", R"("[]")", R"("{}")", R"("{\"channel_shape\":7}")",
                          R"("{\"channel_shape\":[-1]}")", R"("{\"channel_shape\":[1.5]}")",
                          R"("{\"channel_shape\":[1,1,1,1,1,1,1,1,1]}")",
                          R"("{\"channel_shape\":[1],\"dtype\":\"float64\"}")"}) {
    INFO(bad);
    CHECK(spec_with(bad, &spec).status == SL_STATUS_WEIGHTS);
  }
}

TEST_CASE("invalid calls on weights are refused", "[weights]") {
  const Weights weights;
  sl_weights* made = nullptr;
  const char* name = nullptr;
  Tensor values = make_array(SL_DTYPE_FLOAT32, {2, 2});
  sl_sequence tensor = values.view();
  const auto status = [](auto&& call) { return failure_of(call).status; };
  CHECK(status([&](sl_error* e) { return sl_weights_create(nullptr, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(status([&](sl_error* e) { return sl_weights_open(nullptr, &made, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(status([&](sl_error* e) { return sl_weights_open("x", nullptr, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(status([&](sl_error* e) { return sl_weights_open("/nowhere/x", &made, e); }) ==
        SL_STATUS_IO);
  CHECK(status([&](sl_error* e) { return sl_weights_read(nullptr, 0, &made, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(status([&](sl_error* e) { return sl_weights_read("x", 1, &made, e); }) ==
        SL_STATUS_WEIGHTS);
  CHECK(made == nullptr);
  CHECK(status([&](sl_error* e) { return sl_weights_add(nullptr, "w", &tensor, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(status([&](sl_error* e) { return sl_weights_add(weights.get(), nullptr, &tensor, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(status([&](sl_error* e) { return sl_weights_add(weights.get(), "w", nullptr, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  sl_sequence bad = tensor;
  bad.data = nullptr;
  CHECK(status([&](sl_error* e) { return sl_weights_add(weights.get(), "w", &bad, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  bad = tensor;
  bad.strides[0] = 4;
  bad.strides[1] = 8;
  CHECK(status([&](sl_error* e) { return sl_weights_add(weights.get(), "w", &bad, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(sl_weights_tensor_count(weights.get()) == 0);
  CHECK(sl_weights_add(weights.get(), "w", &tensor, nullptr) == SL_STATUS_OK);
  const Failure twice =
      failure_of([&](sl_error* e) { return sl_weights_add(weights.get(), "w", &tensor, e); });
  CHECK(twice.status == SL_STATUS_INVALID_ARGUMENT);
  CHECK(twice.message == "there is a tensor \"w\" already");
  for (const int64_t index : {-1, 1}) {
    CHECK(status([&](sl_error* e) {
            return sl_weights_tensor(weights.get(), index, &name, &tensor, e);
          }) == SL_STATUS_INVALID_ARGUMENT);
  }
  CHECK(status([&](sl_error* e) { return sl_weights_tensor(nullptr, 0, &name, &tensor, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(sl_weights_tensor(weights.get(), 0, nullptr, nullptr, nullptr) == SL_STATUS_OK);
  CHECK(status([&](sl_error* e) { return sl_weights_find(weights.get(), "v", &tensor, e); }) ==
        SL_STATUS_WEIGHTS);
  CHECK(status([&](sl_error* e) { return sl_weights_find(weights.get(), nullptr, &tensor, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
  CHECK(status([&](sl_error* e) { return sl_weights_find(nullptr, "w", &tensor, e); }) ==
        SL_STATUS_INVALID_ARGUMENT);
}

TEST_CASE("empty tensors", "[weights]") {
  const Weights weights;
  sl_sequence tensor = SL_SEQUENCE_INIT;
  tensor.rank = 1;  // without elements, data may be null
  CHECK(sl_weights_add(weights.get(), "empty", &tensor, nullptr) == SL_STATUS_OK);
  CHECK(sl_weights_find(weights.get(), "empty", &tensor, nullptr) == SL_STATUS_OK);
  CHECK(tensor.dims[0] == 0);
}

TEST_CASE("half precision weights are widened", "[weights]") {
  Tensor kernel = make_array(SL_DTYPE_BFLOAT16, {1, 2}), bias = make_array(SL_DTYPE_FLOAT16, {2});
  kernel.set(0, 1.5);
  kernel.set(1, -2);
  bias.set(0, 0.25);
  const Weights weights;
  const sl_sequence kernel_view = kernel.view(), bias_view = bias.view();
  CHECK(sl_weights_add(weights.get(), "params.kernel", &kernel_view, nullptr) == SL_STATUS_OK);
  CHECK(sl_weights_add(weights.get(), "params.bias", &bias_view, nullptr) == SL_STATUS_OK);
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 1});
  x.set(0, 2);
  const Tensor y = apply(create(weights), {x, {}});
  CHECK(y.at(0).real() == 3.25);
  CHECK(y.at(1).real() == -4);
}

}  // namespace
}  // namespace sl::testing
