// Fault 1: sizes wrapped at 2^64 and became small, and the process wrote outside its memory.
#include <catch2/catch.hpp>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr int64_t kLarge = int64_t{1} << 31;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string serial(const std::string& layers) {
  return R"({"type":"Serial","layers":[)" + layers + "]}";
}

Layer make(const std::string& config, const sl_layer_options* options = nullptr) {
  return Layer(config, options);
}

Failure create_failure(const std::string& config, const sl_layer_options* options = nullptr) {
  return failure_of([&](sl_error* e) {
    sl_layer* layer = nullptr;
    const sl_status status =
        sl_layer_create(config.data(), config.size(), nullptr, options, &layer, e);
    sl_layer_free(layer);
    return status;
  });
}

// A view of dims in which all elements share one value in memory.
sl_sequence view_of(const std::vector<int64_t>& dims, void* data) {
  sl_sequence view = SL_SEQUENCE_INIT;
  view.rank = static_cast<int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), view.dims);
  view.data = data;
  return view;
}

Failure apply_failure(const Layer& layer, const std::vector<int64_t>& x_dims,
                      const std::vector<int64_t>& y_dims) {
  float from[64] = {}, to[64] = {};
  const sl_sequence x = view_of(x_dims, from);
  sl_sequence y = view_of(y_dims, to);
  return failure_of([&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, nullptr, e); });
}

sl_state_options state_options(const std::vector<int64_t>& channels) {
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input.rank = static_cast<int32_t>(channels.size());
  std::copy(channels.begin(), channels.end(), options.input.dims);
  return options;
}

Failure state_failure(const Layer& layer, const sl_state_options& options) {
  size_t size = 0;
  const Failure of_size = failure_of(
      [&](sl_error* e) { return sl_state_size(layer.get(), &options, &size, nullptr, e); });
  const Failure of_alloc = failure_of([&](sl_error* e) {
    sl_state* state = nullptr;
    const sl_status status = sl_state_alloc(layer.get(), &options, &state, e);
    sl_state_free(state);
    return status;
  });
  CHECK(of_size.status == of_alloc.status);
  CHECK(of_size.message == of_alloc.message);
  return of_alloc;
}

TEST_CASE("fault 1: a sequence whose bytes wrap is refused with its layer", "[f01]") {
  const Layer layer = make(text_of(fault_input("trust/layer_size_wraps.json")));
  const Failure failure = apply_failure(layer, {1, 1, 1, 1}, {1, 1, 1, 1});
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK_THAT(failure.message, Contains("Upsample2D \"layers_0\"") && Contains("64 bits"));
  CHECK(state_failure(layer, state_options({1, 1})).status != SL_STATUS_OK);
}

TEST_CASE("fault 1: a state whose bytes wrap is refused", "[f01]") {
  const Layer layer = make(text_of(fault_input("trust/state_size_wraps.json")));
  const Failure failure = state_failure(layer, state_options({1, 1}));
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK_THAT(failure.message, Contains("64 bits"));
}

TEST_CASE("fault 1: errors in the size of a state name the layer and the tensor", "[f01]") {
  const Layer delayed = make(serial(R"({"type":"Serial","name":"inner","layers":[)"
                                    R"({"type":"Delay","name":"late","length":2147475456}]})"));
  Failure failure = state_failure(delayed, state_options({1 << 20, 1 << 20}));
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK_THAT(
      failure.message,
      Contains("Delay \"inner.late\": state \"inner.late.values\" of [1, ") && Contains("64 bits"));

  const Layer pooled = make(
      serial(R"({"type":"MaxPooling1D","name":"pool","pool_size":2,"dilation_rate":1073741824,)"
             R"("padding":"causal"})"));
  sl_state_options options = state_options({1});
  options.max_steps = kLarge;
  failure = state_failure(pooled, options);
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK_THAT(failure.message, Contains("MaxPooling1D \"pool\": state \"values\" of a history of "
                                       "1073741824 steps and 2147483648 steps per call"));
}

TEST_CASE("fault 1: a tensor whose bytes wrap is refused", "[f01]") {
  sl_weights* weights = nullptr;
  const std::string path = fault_input("trust/tensor_size_wraps.safetensors");
  const Failure failure =
      failure_of([&](sl_error* e) { return sl_weights_open(path.c_str(), &weights, e); });
  CHECK(weights == nullptr);
  CHECK(failure.status == SL_STATUS_WEIGHTS);
  CHECK_THAT(failure.message, Contains("tensor \"w\""));
}

// 2^33 + 1 rows of 2^31 numbers take 2^66 + 2^33 bytes, which equals the size of one row modulo
// 2^64.
TEST_CASE("fault 1: a table of one row does not pass as one of 2^33 + 1 rows", "[f01]") {
  std::string header =
      R"({"params.embedding":{"dtype":"F32","shape":[8589934593,2147483648],"data_offsets":[0,0]}})";
  while (header.size() % 8 != 0) header += ' ';
  std::string image(8, '\0');
  image[0] = static_cast<char>(header.size());
  image += header;
  sl_weights* weights = nullptr;
  CHECK(failure_of([&](sl_error* e) {
          return sl_weights_read(image.data(), image.size(), &weights, e);
        }).status == SL_STATUS_WEIGHTS);
  CHECK(weights == nullptr);
  CHECK(create_failure(R"({"type":"Embedding","dimension":2147483648,"num_embeddings":2147483648})")
            .status == SL_STATUS_WEIGHTS);
}

TEST_CASE("fault 1: layers whose sizes exceed 64 bits are an error of the config", "[f01]") {
  const std::string down = R"({"type":"Downsample1D","rate":2147483648})";
  const std::string ar = R"({"type":"Upsample1D","rate":2147483648})";
  const Failure failure = create_failure(serial(serial(down + "," + down + "," + down)));
  CHECK(failure.status == SL_STATUS_CONFIG);
  CHECK_THAT(failure.message, Contains("$.layers[0] (Serial)") && Contains("64 bits"));
  CHECK(create_failure(serial(ar + "," + ar + "," + ar)).status == SL_STATUS_CONFIG);
}

TEST_CASE("fault 1: every kind of growth is refused before there is memory for it", "[f01]") {
  const std::string down = R"(,{"type":"Downsample1D","rate":2147483648})";
  const std::string up = R"({"type":"Upsample1D","rate":2147483648})";
  const std::vector<std::pair<std::string, std::vector<int64_t>>> cases = {
      {serial(up + "," + up + down + down), {1, 1, 4}},
      {serial(up + R"(,{"type":"Upsample1D","rate":65536})" + down +
              R"(,{"type":"Downsample1D","rate":65536})"),
       {1, 1, 4}},
      {serial(R"({"type":"Upsample2D","rate":[2147483648,65536]},)"
              R"({"type":"Slice","slices":[{"slice":[0,1,1]},{"slice":[0,1,1]}]})" +
              down),
       {1, 1, 1, 1}},
      {serial(R"({"type":"Delay","length":2147483648},{"type":"Upsample1D","rate":2147483648},)"
              R"({"type":"Downsample1D","rate":2147483648})"),
       {1, 1, 4}},
  };
  for (const auto& [config, dims] : cases) {
    INFO(config);
    const Layer layer = make(config);
    float from[16] = {}, to[16] = {};
    const sl_sequence x = view_of(dims, from);
    sl_sequence y = SL_SEQUENCE_INIT;
    Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_output_shape(layer.get(), SL_MODE_LAYER, &x, nullptr, &y, e);
    });
    if (failure.status == SL_STATUS_OK) {
      y.data = to;
      failure =
          failure_of([&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, nullptr, e); });
    }
    INFO(failure.message);
    CHECK((failure.status == SL_STATUS_SHAPE || failure.status == SL_STATUS_OUT_OF_MEMORY ||
           failure.status == SL_STATUS_INVALID_ARGUMENT));
  }
}

TEST_CASE("fault 1: views whose sizes or strides wrap are refused", "[f01]") {
  const Layer layer = make(R"({"type":"Identity"})");
  const auto refused = [&](const sl_sequence& x) {
    sl_sequence y = x;
    const Failure failure =
        failure_of([&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, nullptr, e); });
    INFO(failure.message);
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
  };
  float data[4] = {};
  refused(view_of({kLarge, kLarge, 4}, data));
  refused(view_of({1, kLarge, kLarge}, data));
  refused(view_of({1, 0, INT64_MAX, INT64_MAX}, data));
  refused(view_of({1, -1, 1}, data));

  sl_sequence strided = view_of({2, 2, 1}, data);
  strided.strides[0] = INT64_MAX;
  strided.strides[1] = INT64_MAX;
  refused(strided);
  strided.strides[0] = strided.strides[1] = INT64_MIN;
  refused(strided);
  sl_sequence mask_strided = view_of({1, 4, 1}, data);
  uint8_t mask[4] = {1, 1, 1, 1};
  mask_strided.mask = mask;
  mask_strided.mask_strides[1] = INT64_MAX / 2;
  refused(mask_strided);

  Weights weights;
  const sl_sequence tensor = view_of({kLarge, kLarge, 4}, data);
  CHECK(failure_of([&](sl_error* e) {
          return sl_weights_add(weights.get(), "w", &tensor, e);
        }).status == SL_STATUS_INVALID_ARGUMENT);
}

TEST_CASE("fault 1: strides within bounds are read as before", "[f01]") {
  const Layer layer = make(R"({"type":"Identity"})");
  const float data[4] = {1, 2, 3, 4};
  float out[4] = {};
  sl_sequence x = view_of({1, 4, 1}, const_cast<float*>(data + 3));
  x.strides[0] = 16;
  x.strides[1] = -4;  // steps run backwards in memory
  x.strides[2] = 4;
  sl_sequence y = view_of({1, 4, 1}, out);
  check([&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, nullptr, e); });
  CHECK(std::vector<float>(out, out + 4) == std::vector<float>{4, 3, 2, 1});
}

TEST_CASE("fault 1: a model, a state or a run beyond max_bytes is refused", "[f01]") {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  const std::string delay = R"({"type":"Delay","length":1000})";

  SECTION("a model") {
    std::mt19937 rng(1);
    const std::string config = R"({"type":"Dense","features":1000,"use_bias":false})";
    const Weights weights = make_weights(config, {{"", {10, {}, {}}}}, rng);
    const auto create = [&](int64_t max_bytes) {
      options.max_bytes = max_bytes;
      return failure_of([&](sl_error* e) {
        sl_layer* layer = nullptr;
        const sl_status status =
            sl_layer_create(config.data(), config.size(), weights.get(), &options, &layer, e);
        sl_layer_free(layer);
        return status;
      });
    };
    // Panels of 16 columns hold the 1000 columns of 10 numbers.
    CHECK(create(40320).status == SL_STATUS_OK);
    const Failure failure = create(40319);
    CHECK(failure.status == SL_STATUS_OUT_OF_MEMORY);
    CHECK_THAT(failure.message, Contains("$ (Dense)") && Contains("40320") && Contains("40319"));
    CHECK(create(0).status == SL_STATUS_OK);
    CHECK(create(-1).status == SL_STATUS_INVALID_ARGUMENT);
  }

  SECTION("a state takes what sl_state_size tells and no less") {
    const Layer free = make(delay);
    const sl_state_options state = state_options({8});
    size_t size = 0;
    check([&](sl_error* e) { return sl_state_size(free.get(), &state, &size, nullptr, e); });
    options.max_bytes = static_cast<int64_t>(size);
    const Layer enough = make(delay, &options);
    sl_state* made = nullptr;
    check([&](sl_error* e) { return sl_state_alloc(enough.get(), &state, &made, e); });
    sl_state_free(made);
    options.max_bytes = 32000;  // enough for the values, but not for their mask
    const Failure failure = state_failure(make(delay, &options), state);
    CHECK(failure.status == SL_STATUS_OUT_OF_MEMORY);
    CHECK_THAT(failure.message, Contains("32000") && Contains("\"values\""));
  }

  SECTION("a run") {
    options.max_bytes = 1 << 20;
    const Layer layer = make(serial(R"({"type":"Upsample1D","rate":1024},)"
                                    R"({"type":"Downsample1D","rate":1024})"),
                             &options);
    std::vector<float> data(512);
    const auto run = [&](int64_t steps) {
      const sl_sequence x = view_of({1, steps, 1}, data.data());
      std::vector<float> out(data.size());
      sl_sequence y = view_of({1, steps, 1}, out.data());
      return failure_of(
          [&](sl_error* e) { return sl_layer_apply(layer.get(), &x, &y, nullptr, e); });
    };
    CHECK(run(100).status == SL_STATUS_OK);
    const Failure failure = run(512);
    CHECK(failure.status == SL_STATUS_OUT_OF_MEMORY);
    CHECK_THAT(failure.message, Contains("Upsample1D") && Contains("1048576"));
  }
}

TEST_CASE("fault 1: sizes beyond the default limit are refused at once", "[f01]") {
  // Each layer needs 2^38 bytes.
  const Layer layer = make(serial(R"({"type":"Upsample1D","rate":2147483648},)"
                                  R"({"type":"Downsample1D","rate":2147483648})"));
  const Failure failure = apply_failure(layer, {1, 1, 32}, {1, 1, 32});
  CHECK(failure.status == SL_STATUS_OUT_OF_MEMORY);
  CHECK_THAT(failure.message, Contains("68719476736"));
  sl_state_options options = state_options({32});
  CHECK(state_failure(layer, options).status == SL_STATUS_OUT_OF_MEMORY);
  options = state_options({1});
  options.batch = 1 << 24;
  options.max_steps = kLarge;
  CHECK(state_failure(make(R"({"type":"Relu"})"), options).status == SL_STATUS_OUT_OF_MEMORY);
  options = state_options({kLarge, 1 << 17});
  options.batch = 1 << 24;
  options.max_steps = kLarge;
  CHECK(state_failure(make(R"({"type":"Relu"})"), options).status == SL_STATUS_SHAPE);
}

TEST_CASE("fault 1: a custom layer's state cannot exceed the available memory", "[f01]") {
  static const auto huge = [](const void*, const sl_channel_spec*, size_t* bytes,
                              sl_error*) -> sl_status {
    *bytes = SIZE_MAX - 7;
    return SL_STATUS_OK;
  };
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.create = [](void*, const char*, const sl_weight_source*, void**, sl_error*) {
    return static_cast<sl_status>(SL_STATUS_OK);
  };
  callbacks.state_size = huge;
  callbacks.layer = [](const void*, const sl_sequence*, sl_sequence*, sl_error*) {
    return static_cast<sl_status>(SL_STATUS_OK);
  };
  callbacks.step = [](const void*, void*, const sl_sequence*, sl_sequence*, sl_error*) {
    return static_cast<sl_status>(SL_STATUS_OK);
  };
  const CustomType custom("Huge", callbacks);
  const Layer layer(serial(R"({"type":"Huge"})"), &custom.options);
  const Failure failure = state_failure(layer, state_options({1}));
  CHECK(failure.status == SL_STATUS_SHAPE);
  CHECK_THAT(failure.message, Contains("layers_0"));
}

}  // namespace
}  // namespace sl::testing
