// Fault 6: small calls and broken files took a minute, error texts ended in the middle of a
// character, and a channel size of 2^64 - 1 became -1.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <nlohmann/json.hpp>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

// Algorithms that take quadratic time would need minutes here. A busy machine with sanitizers needs
// some seconds.
constexpr double kFewSeconds = 20;

template <typename Call>
Failure quick_failure_of(Call&& call) {
  const auto begin = std::chrono::steady_clock::now();
  const Failure failure = failure_of(call);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  CHECK(took.count() < kFewSeconds);
  return failure;
}

Failure create(const std::string& config) {
  return quick_failure_of([&](sl_error* e) {
    sl_layer* layer = nullptr;
    const sl_status status =
        sl_layer_create(config.data(), config.size(), nullptr, nullptr, &layer, e);
    sl_layer_free(layer);
    return status;
  });
}

Failure read_weights(const std::string& header) {
  std::string image(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(image.data(), &size, sizeof(size));
  image += header;
  return quick_failure_of([&](sl_error* e) {
    sl_weights* weights = nullptr;
    const sl_status status = sl_weights_read(image.data(), image.size(), &weights, e);
    sl_weights_free(weights);
    return status;
  });
}

// nlohmann refuses to write text that is not UTF-8.
bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

TEST_CASE("fault 6: too many sequences without elements are refused", "[f06]") {
  const Layer layer = make_model(R"({"type":"Conv1D","filters":2,"kernel_size":3})");
  float data = 0;
  for (const auto& [batch, steps, channels] :
       {std::tuple<int64_t, int64_t, int64_t>{int64_t{1} << 32, 0, 1},
        {int64_t{1} << 40, 0, 1},
        {0, int64_t{1} << 40, 1},
        {1, int64_t{1} << 32, 0}}) {
    sl_sequence x = SL_SEQUENCE_INIT;
    x.rank = 3;
    x.dims[0] = batch;
    x.dims[1] = steps;
    x.dims[2] = channels;
    x.data = &data;
    sl_sequence y = x;
    const Failure failure = quick_failure_of(
        [&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, nullptr, e); });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("2^24"));
  }
  sl_sequence x = SL_SEQUENCE_INIT;
  x.rank = 3;
  x.dims[0] = 1000;
  x.dims[2] = 1;
  sl_sequence y = x;
  y.dims[2] = 2;
  CHECK(quick_failure_of([&](sl_error* e) {
          return sl_layer_apply(layer.get(), &x, &y, nullptr, e);
        }).status == SL_STATUS_OK);
}

TEST_CASE("fault 6: invalid configs with many or long words are refused in linear time", "[f06]") {
  std::string fields;
  for (int i = 0; i < 200000; ++i) fields += ",\"field" + std::to_string(i) + "\":1";
  CHECK(create(R"({"type":"Dense","features":1)" + fields + "}").status == SL_STATUS_CONFIG);
  CHECK(create(R"({"type":"Dense")" + fields + "}").status == SL_STATUS_CONFIG);

  const std::string word(10 << 20, 'x');
  CHECK(create(R"({"type":")" + word + "\"}").status == SL_STATUS_CONFIG);
  CHECK(create(R"({"type":"Relu",")" + word + "\":1}").status == SL_STATUS_CONFIG);
  CHECK(create(R"({"type":"Relu","name":")" + word + "\"}").status == SL_STATUS_CONFIG);
  CHECK(create(R"({"type":"Cast","dtype":")" + word + "\"}").status == SL_STATUS_CONFIG);
  CHECK(
      create(R"({"type":"Conv1D","filters":1,"kernel_size":1,"padding":")" + word + "\"}").status ==
      SL_STATUS_CONFIG);
  CHECK(create(std::string(10 << 20, '[')).status == SL_STATUS_CONFIG);

  std::string layers = R"({"type":"Relu"})";
  for (int i = 1; i < 300000; ++i) layers += R"(,{"type":"Relu"})";
  const Failure failure = create(R"({"type":"Serial","layers":[)" + layers + "]}");
  CHECK(failure.status == SL_STATUS_CONFIG);
  CHECK_THAT(failure.message, Contains("65536"));
}

TEST_CASE("fault 6: models of many layers are made and described in linear time", "[f06]") {
  std::string layers = R"({"type":"Relu"})";
  for (int i = 1; i < 60000; ++i) layers += R"(,{"type":"Relu"})";
  const std::string config = R"({"type":"Serial","layers":[)" + layers + "]}";
  sl_layer* made = nullptr;
  REQUIRE(quick_failure_of([&](sl_error* e) {
            return sl_layer_create(config.data(), config.size(), nullptr, nullptr, &made, e);
          }).status == SL_STATUS_OK);
  const Layer layer(made);
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT;
  size_t needed = 0;
  CHECK(quick_failure_of([&](sl_error* e) {
          return sl_layer_describe(layer.get(), &input, nullptr, 0, nullptr, 0, &needed, e);
        }).status == SL_STATUS_OK);
}

TEST_CASE("fault 6: headers with many brackets or tensors are read in linear time", "[f06]") {
  const size_t kBytes = size_t{50} << 20;
  CHECK(read_weights(std::string(kBytes, '[')).status == SL_STATUS_WEIGHTS);
  CHECK(read_weights("{\"a\":" + std::string(kBytes, '[')).status == SL_STATUS_WEIGHTS);
  CHECK(read_weights(R"({"__metadata__":{"a":)" + std::string(kBytes, '{')).status ==
        SL_STATUS_WEIGHTS);
  std::string tensors;
  for (int i = 0; i < 200000; ++i) {
    if (i > 0) tensors += ',';
    tensors += "\"t" + std::to_string(i) + R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  }
  CHECK(read_weights("{" + tensors + "}").status == SL_STATUS_OK);
}

TEST_CASE("fault 6: error texts end with a whole character", "[f06]") {
  std::string words;
  for (int i = 0; i < 300; ++i) words += "a\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e";
  const std::string config = R"({"type":"Dense","features":")" + words + "\"}";
  const std::string type = R"({"type":")" + words + "\"}";
  std::vector<std::byte> memory(sizeof(sl_error) + 100);
  auto* error = reinterpret_cast<sl_error*>(memory.data());
  for (const std::string& text : {config, type}) {
    for (size_t size = offsetof(sl_error, message) + 1; size < memory.size(); ++size) {
      std::fill(memory.begin(), memory.end(), std::byte{0x7f});
      error->struct_size = static_cast<uint32_t>(size);
      sl_layer* layer = nullptr;
      const sl_status status =
          sl_layer_create(text.data(), text.size(), nullptr, nullptr, &layer, error);
      REQUIRE(status == SL_STATUS_CONFIG);
      const std::string message(error->message);
      REQUIRE(message.size() < size - offsetof(sl_error, message));
      REQUIRE(is_utf8(message));
      REQUIRE(memory[size] == std::byte{0x7f});
    }
  }
  // A quoted name is truncated too, long before the end of the buffer.
  const Failure failure = create(config);
  CHECK(failure.message.size() < 200);
  CHECK_THAT(failure.message, Contains("expected an integer") && Contains("..."));
}

TEST_CASE("fault 6: a recorded input spec with invalid channels is refused", "[f06]") {
  for (const char* size : {"18446744073709551615", "9223372036854775808", "-1"}) {
    const std::string header = std::string(R"({"__metadata__":{"input":"{\"channel_shape\":[)") +
                               size + R"(],\"dtype\":\"float32\"}"}})";
    std::string image(8, '\0');
    image[0] = static_cast<char>(header.size());
    image += header;
    sl_weights* read = nullptr;
    check([&](sl_error* e) { return sl_weights_read(image.data(), image.size(), &read, e); });
    const Weights weights(read);
    const std::string config = R"({"type":"Relu"})";
    sl_layer* layer = nullptr;
    sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
    Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_create(config.data(), config.size(), weights.get(), nullptr, &layer, e);
    });
    const Layer owned(layer);
    if (failure.status == SL_STATUS_OK)
      failure = failure_of([&](sl_error* e) { return sl_layer_input_spec(layer, &spec, e); });
    CHECK(failure.status == SL_STATUS_WEIGHTS);
    CHECK_THAT(failure.message, Contains("\"input\""));
  }
}

}  // namespace
}  // namespace sl::testing
