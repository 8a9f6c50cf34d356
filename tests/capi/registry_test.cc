// Tests registries and custom layers beyond custom_layer.c, which is the worked example.
#include <catch2/catch.hpp>
#include <cstring>
#include <optional>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

// Tells a custom layer how to behave, and records its calls.
struct Script {
  int64_t alive = 0;
  std::string config;
  sl_layer_properties properties = SL_LAYER_PROPERTIES_INIT;
  const char* fails = "";  // name of the callback that reports failure
  const char* message = "as told";
  sl_status status = SL_STATUS_UNSUPPORTED;  // what the failing callback returns
};

sl_status told(const Script* script, const char* callback, sl_error* error) {
  if (std::strcmp(script->fails, callback) != 0) return SL_STATUS_OK;
  if (error != nullptr)
    std::snprintf(error->message, sizeof(error->message), "%s", script->message);
  return script->status;
}

const Script* script_of(const void* instance) { return static_cast<const Script*>(instance); }

sl_status create(void* user_data, const char* config, const sl_weight_source*, void** instance,
                 sl_error* error) {
  auto* script = static_cast<Script*>(user_data);
  script->config = config;
  if (const sl_status status = told(script, "create", error); status != SL_STATUS_OK) return status;
  ++script->alive;
  *instance = script;
  return SL_STATUS_OK;
}

void destroy(void* instance) { --static_cast<Script*>(instance)->alive; }

sl_status properties(const void* instance, sl_layer_properties* out, sl_error* error) {
  *out = script_of(instance)->properties;
  return told(script_of(instance), "properties", error);
}

sl_status output_spec(const void* instance, const sl_channel_spec* in, sl_channel_spec* out,
                      sl_error* error) {
  *out = *in;
  return told(script_of(instance), "output_spec", error);
}

sl_status state_size(const void* instance, const sl_channel_spec*, size_t* bytes, sl_error* error) {
  *bytes = sizeof(int32_t);
  return told(script_of(instance), "state_size", error);
}

sl_status state_init(const void* instance, const sl_channel_spec*, void* state, sl_error* error) {
  *static_cast<int32_t*>(state) = 100;
  return told(script_of(instance), "state_init", error);
}

// Gives x, or every n-th step of x for a ratio of 1/n.
sl_status layer(const void* instance, const sl_sequence* x, sl_sequence* y, sl_error* error) {
  const int64_t n = x->dims[1] / std::max<int64_t>(y->dims[1], 1);
  for (int64_t t = 0; t < y->dims[1]; ++t) {
    static_cast<float*>(y->data)[t] = static_cast<const float*>(x->data)[t * n];
  }
  return told(script_of(instance), "layer", error);
}

// Gives the number of the step, counted from 100.
sl_status step(const void* instance, void* state, const sl_sequence* x, sl_sequence* y,
               sl_error* error) {
  auto* count = static_cast<int32_t*>(state);
  for (int64_t t = 0; t < x->dims[1]; ++t) {
    static_cast<float*>(y->data)[t] = static_cast<float>((*count)++);
  }
  return told(script_of(instance), "step", error);
}

sl_layer_callbacks all_callbacks(Script* script) {
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.user_data = script;
  callbacks.create = create;
  callbacks.destroy = destroy;
  callbacks.properties = properties;
  callbacks.output_spec = output_spec;
  callbacks.state_size = state_size;
  callbacks.state_init = state_init;
  callbacks.layer = layer;
  callbacks.step = step;
  return callbacks;
}

Failure make(Script* script, const sl_layer_callbacks& callbacks, std::optional<Layer>* out,
             const char* config = R"({"type":"Mine","rate":[1,{"a":null}]})") {
  const CustomType custom("Mine", callbacks);
  out->reset();
  const Failure failure = thrown_by([&] { out->emplace(config, &custom.options); });
  CHECK((script->alive > 0) == out->has_value());
  return failure;
}

// Creates a stream of scalars for the layer.
Failure alloc(const Layer& layer, std::optional<State>* out) {
  out->reset();
  return thrown_by([&] { out->emplace(layer, sequence_layers::channel_spec({})); });
}

Failure step_once(const Layer& layer, const State& state, float* y) {
  float x = 1;
  sl_sequence in = SL_SEQUENCE_INIT;
  in.rank = 2;
  in.dims[0] = in.dims[1] = 1;
  sl_sequence out = in;
  in.data = &x;
  out.data = y;
  return failure_of(
      [&](sl_error* e) { return sl_layer_step(layer.get(), state.get(), &in, &out, nullptr, e); });
}

TEST_CASE("invalid registrations are refused", "[registry]") {
  Script script;
  const sequence_layers::Registry registry;
  const sl_layer_callbacks good = all_callbacks(&script);
  const auto message = [&](const char* type, const sl_layer_callbacks* callbacks) {
    const Failure failure = failure_of(
        [&](sl_error* e) { return sl_registry_add(registry.get(), type, callbacks, e); });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    return failure.message;
  };
  CHECK(message(nullptr, &good) == "type is null");
  CHECK(message("", &good) == "type is empty");
  CHECK(message("Mine", nullptr) == "callbacks is null");
  CHECK(message("Conv1D", &good) == "the layer type \"Conv1D\" is registered already");
  sl_layer_callbacks bad = good;
  bad.struct_size = 1;
  CHECK_THAT(message("Mine", &bad), Contains("callbacks.struct_size is 1"));
  bad = good;
  bad.create = nullptr;
  CHECK(message("Mine", &bad) == "callbacks.create is null");
  bad = good;
  bad.layer = nullptr;
  CHECK(message("Mine", &bad) == "callbacks.layer is null");
  bad = good;
  bad.step = nullptr;
  CHECK_THAT(message("Mine", &bad), Contains("callbacks.step is null"));
  CHECK(sl_registry_create(nullptr, nullptr) == SL_STATUS_INVALID_ARGUMENT);
  CHECK(sl_registry_add(nullptr, "Mine", &good, nullptr) == SL_STATUS_INVALID_ARGUMENT);

  const int64_t built_in = sl_registry_type_count(nullptr);
  CHECK(sl_registry_type_count(registry.get()) == built_in);
  CHECK(sl_registry_add(registry.get(), "Mine", &good, nullptr) == SL_STATUS_OK);
  CHECK(sl_registry_type_count(registry.get()) == built_in + 1);
  CHECK(message("Mine", &good) == "the layer type \"Mine\" is registered already");
  CHECK(sl_registry_type_count(nullptr) == built_in);
}

TEST_CASE("a custom type is known, and suggested, only by its own registry", "[registry]") {
  Script script;
  std::optional<Layer> layer;
  CHECK_THAT(make(&script, all_callbacks(&script), &layer, R"({"type":"Minee"})").message,
             Contains("did you mean \"Mine\"?"));
  const char* config = R"({"type":"Mine"})";
  sl_layer* none = nullptr;
  CHECK(sl_layer_create(config, std::strlen(config), nullptr, nullptr, &none, nullptr) ==
        SL_STATUS_CONFIG);
}

TEST_CASE("create gets the layer's JSON, and destroy every instance", "[registry]") {
  Script script;
  std::optional<Layer> layer;
  CHECK(make(&script, all_callbacks(&script), &layer).status == SL_STATUS_OK);
  CHECK(script.config == R"({"type":"Mine","rate":[1,{"a":null}]})");
  CHECK(script.alive == 1);
  layer.reset();
  CHECK(script.alive == 0);
  // If the second of two instances fails, the first is destroyed.
  CHECK(make(&script, all_callbacks(&script), &layer,
             R"({"type":"Serial","layers":[{"type":"Mine"},{"type":"Nothing"}]})")
            .status == SL_STATUS_CONFIG);
  CHECK(script.alive == 0);
}

TEST_CASE("failures of each callback reach the caller", "[registry]") {
  Script script;
  std::optional<Layer> layer;
  std::optional<State> state;
  float y = 0;
  script.fails = "create";
  Failure failure = make(&script, all_callbacks(&script), &layer);
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK(failure.message == "$ (Mine): create failed: as told");
  script.message = "";  // the status is reported if there is no message
  CHECK(make(&script, all_callbacks(&script), &layer).message ==
        "$ (Mine): create failed: unsupported");
  script.message = "as told";
  script.fails = "properties";
  failure = make(&script, all_callbacks(&script), &layer);
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK(failure.message == "$ (Mine): properties failed: as told");

  for (const char* callback : {"output_spec", "state_size", "state_init", "step"}) {
    INFO(callback);
    script.fails = "";
    REQUIRE(make(&script, all_callbacks(&script), &layer).status == SL_STATUS_OK);
    script.fails = callback;
    failure = alloc(*layer, &state);
    CHECK(failure.status == SL_STATUS_UNSUPPORTED);
    CHECK_THAT(failure.message,
               StartsWith(std::string("$ (Mine): ") + callback + " failed: as told"));
    CHECK(!state);
    layer.reset();
  }

  script.fails = "";
  REQUIRE(make(&script, all_callbacks(&script), &layer).status == SL_STATUS_OK);
  REQUIRE(alloc(*layer, &state).status == SL_STATUS_OK);
  script.fails = "step";
  failure = step_once(*layer, *state, &y);
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK(failure.message == "$ (Mine): step failed: as told");

  script.fails = "layer";
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 2});
  const sl_sequence in = x.view();
  sl_sequence out = x.view();
  failure =
      failure_of([&](sl_error* e) { return sl_layer_apply(layer->get(), &in, &out, nullptr, e); });
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK(failure.message == "$ (Mine): layer failed: as told");
}

TEST_CASE("a callback's own status reaches the caller", "[registry]") {
  Script script;
  std::optional<Layer> layer;
  script.fails = "create";
  for (sl_status status = SL_STATUS_INVALID_ARGUMENT; status <= SL_STATUS_LENGTH; ++status) {
    script.status = status;
    CHECK(make(&script, all_callbacks(&script), &layer).status == status);
  }
  // Numbers that no status has.
  for (const sl_status status : {-1, SL_STATUS_LENGTH + 1, 1000}) {
    script.status = status;
    const Failure failure = make(&script, all_callbacks(&script), &layer);
    CHECK(failure.status == SL_STATUS_CALLBACK);
    CHECK(failure.message == "$ (Mine): create failed: as told");
  }
}

TEST_CASE("an error of a custom layer has the layer's path", "[registry]") {
  Script script;
  std::optional<Layer> layer;
  std::optional<State> state;
  const char* config =
      R"({"type":"Serial","name":"model","layers":[{"type":"Relu"},{"type":"Residual",)"
      R"("name":"skip","layers":[{"type":"Mine","name":"inner"}]}]})";
  REQUIRE(make(&script, all_callbacks(&script), &layer, config).status == SL_STATUS_OK);
  REQUIRE(alloc(*layer, &state).status == SL_STATUS_OK);
  script.fails = "step";
  script.status = SL_STATUS_LENGTH;
  float y = 0;
  const Failure failure = step_once(*layer, *state, &y);
  CHECK(failure.status == SL_STATUS_LENGTH);
  CHECK(failure.message == "$.layers[1].layers[0] (Mine): step failed: as told");
  layer.reset();
  script.fails = "create";
  CHECK(make(&script, all_callbacks(&script), &layer, config).message ==
        "$.layers[1].layers[0] (Mine): create failed: as told");
}

TEST_CASE("invalid properties are refused", "[registry]") {
  const auto refused = [](auto&& change) {
    Script script;
    change(script.properties);
    std::optional<Layer> layer;
    const Failure failure = make(&script, all_callbacks(&script), &layer);
    CHECK(failure.status == SL_STATUS_CALLBACK);
    CHECK_THAT(failure.message, Contains("properties are impossible"));
  };
  refused([](sl_layer_properties& p) { p.block_size = -1; });
  refused([](sl_layer_properties& p) { p.output_ratio_numerator = -1; });
  refused([](sl_layer_properties& p) { p.output_ratio_denominator = -1; });
  // A ratio of 1/2 does not fit a block size of 1.
  refused([](sl_layer_properties& p) { p.output_ratio_denominator = 2; });
  refused([](sl_layer_properties& p) { p.input_latency = -1; });
}

TEST_CASE("state starts where state_init puts it, also after a reset", "[registry]") {
  Script script;
  std::optional<Layer> layer;
  std::optional<State> state;
  REQUIRE(make(&script, all_callbacks(&script), &layer).status == SL_STATUS_OK);
  REQUIRE(alloc(*layer, &state).status == SL_STATUS_OK);
  float y = 0;
  for (int run = 0; run < 2; ++run) {
    for (int i = 0; i < 3; ++i) {
      CHECK(step_once(*layer, *state, &y).status == SL_STATUS_OK);
      CHECK(y == 100 + static_cast<float>(i));
    }
    CHECK(sl_state_reset(state->get(), nullptr) == SL_STATUS_OK);
  }
}

TEST_CASE("a custom layer may change the rate", "[registry]") {
  Script script;
  script.properties.block_size = 2;
  script.properties.output_ratio_denominator = 2;
  sl_layer_callbacks callbacks = all_callbacks(&script);
  callbacks.state_size = nullptr;
  callbacks.state_init = nullptr;
  callbacks.step = nullptr;
  std::optional<Layer> layer;
  REQUIRE(make(&script, callbacks, &layer).status == SL_STATUS_OK);
  std::mt19937 rng(1);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {1, 8}, rng), {}};
  const Tensor y = apply(*layer, input);
  REQUIRE(y.dims == std::vector<int64_t>{1, 4});
  CHECK(y.at(1) == input.x.at(2));
  CHECK(compare_bits(Stepper(*layer, input).run_all(), y).reason == "");
}

}  // namespace
}  // namespace sl::testing
