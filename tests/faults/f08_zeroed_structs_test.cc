// Fault 8: languages without the _INIT macros start from zeroed structs. Calls refused them, or
// took the zeros for something else than the defaults.
#include <sequence_layers/sequence_layers.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

template <typename T>
T zeroed() {
  T out;
  std::memset(static_cast<void*>(&out), 0, sizeof(out));
  return out;
}

constexpr const char kRelu[] = R"({"type":"Relu"})";

Layer make(const std::string& config) {
  const sl_layer_options options = zeroed<sl_layer_options>();
  return Layer(config, &options);
}

sl_sequence view(std::vector<int64_t> dims, void* data) {
  sl_sequence out = zeroed<sl_sequence>();
  for (const int64_t dim : dims) out.dims[out.rank++] = dim;
  out.data = data;
  return out;
}

sl_status create_nothing(sl_error* error) {
  sl_layer* layer = nullptr;
  return sl_layer_create("{}", 2, nullptr, nullptr, &layer, error);
}

TEST_CASE("fault 8: a zeroed error gets code and message", "[f08]") {
  sl_error error = zeroed<sl_error>();
  CHECK(create_nothing(&error) == SL_STATUS_CONFIG);
  CHECK(error.code == SL_STATUS_CONFIG);
  CHECK_THAT(error.message, Contains("has no \"type\""));
  // This struct has space for the code, but not for a message.
  error = zeroed<sl_error>();
  error.struct_size = offsetof(sl_error, message);
  CHECK(create_nothing(&error) == SL_STATUS_CONFIG);
  CHECK(error.code == SL_STATUS_CONFIG);
  CHECK(error.message[0] == '\0');
}

TEST_CASE("fault 8: a model and its stream can be created from zeroed structs", "[f08]") {
  const sl_allocator allocator = zeroed<sl_allocator>();
  sl_layer_options layer_options = zeroed<sl_layer_options>();
  layer_options.allocator = &allocator;
  const Layer layer(kRelu, &layer_options);

  sl_state_options options = zeroed<sl_state_options>();
  options.allocator = &allocator;
  const State state(layer, options);
  float in = -1, out = 9;
  const sl_sequence x = view({1, 1}, &in);  // batch 1, one block, one float32
  sl_sequence y = view({1, 1}, &out);
  const sl_run_options run = zeroed<sl_run_options>();
  sl_error error = zeroed<sl_error>();
  CHECK(sl_layer_step(layer.get(), state.get(), &x, &y, &run, &error) == SL_STATUS_OK);
  CHECK(out == 0);
  out = 9;
  CHECK(sl_layer_apply(layer.get(), &x, &y, &run, &error) == SL_STATUS_OK);
  CHECK(out == 0);

  size_t zeroed_size = 0, size = 0;
  const sl_state_options defaults = SL_STATE_OPTIONS_INIT;
  CHECK(sl_state_size(layer.get(), &options, &zeroed_size, nullptr, &error) == SL_STATUS_OK);
  CHECK(sl_state_size(layer.get(), &defaults, &size, nullptr, &error) == SL_STATUS_OK);
  CHECK(zeroed_size == size);
}

TEST_CASE("fault 8: specs, shapes and tensors can be read into zeroed structs", "[f08]") {
  const Layer layer = make(R"({"type":"Delay","length":2})");
  sl_error error = zeroed<sl_error>();
  sl_channel_spec in = zeroed<sl_channel_spec>(), out = zeroed<sl_channel_spec>();
  in.rank = 1;
  in.dims[0] = 3;
  REQUIRE(sl_layer_output_spec(layer.get(), &in, nullptr, 0, &out, &error) == SL_STATUS_OK);
  CHECK(out.rank == 1);
  CHECK(out.dims[0] == 3);
  CHECK(sl_layer_emit_count(layer.get(), &in, nullptr, 0, &error) == 0);

  const sl_sequence x = view({1, 4, 3}, nullptr);
  sl_sequence y = zeroed<sl_sequence>();
  REQUIRE(sl_layer_output_shape(layer.get(), SL_MODE_STEP, &x, nullptr, &y, &error) ==
          SL_STATUS_OK);
  CHECK(y.rank == 3);
  CHECK(y.dims[1] == 4);

  sl_state_options options = zeroed<sl_state_options>();
  options.input = in;
  const State state(layer, options);
  REQUIRE(sl_state_tensor_count(state.get()) > 0);
  sl_sequence tensor = zeroed<sl_sequence>();
  CHECK(sl_state_tensor(state.get(), 0, nullptr, &tensor, &error) == SL_STATUS_OK);
  CHECK(tensor.data != nullptr);
}

TEST_CASE("fault 8: zeroed structs can hold constants", "[f08]") {
  const Layer layer =
      make(R"({"type":"Conditioning","conditioning_name":"c","projection":"identity",)"
           R"("combination":"add"})");
  sl_error error = zeroed<sl_error>();
  sl_constant_info info = zeroed<sl_constant_info>();
  REQUIRE(sl_layer_constant_count(layer.get()) == 1);
  REQUIRE(sl_layer_constant(layer.get(), 0, &info, &error) == SL_STATUS_OK);
  CHECK(std::string(info.name) == "c");

  float in = 1, added = 2, out = 0;
  sl_constant constant = zeroed<sl_constant>();
  constant.name = "c";
  constant.value = view({1, 1, 1}, &added);
  sl_run_options run = zeroed<sl_run_options>();
  run.constants = &constant;
  run.num_constants = 1;
  const sl_sequence x = view({1, 1, 1}, &in);
  sl_sequence y = view({1, 1, 1}, &out);
  const sl_status status = sl_layer_apply(layer.get(), &x, &y, &run, &error);
  INFO(error.message);
  CHECK(status == SL_STATUS_OK);
  CHECK(out == 3);
}

// A model of the tokens 0 to 2 whose most likely next token is the following one, and 0 after 2.
Layer token_model() {
  float logits[] = {0, 5, 0, 0, 0, 5, 5, 0, 0};
  Weights weights;
  const sl_sequence table = view({3, 3}, logits);
  check([&](sl_error* e) { return sl_weights_add(weights.get(), "params.embedding", &table, e); });
  sl_sequence found = zeroed<sl_sequence>();
  const char* name = nullptr;
  check([&](sl_error* e) { return sl_weights_tensor(weights.get(), 0, &name, &found, e); });
  CHECK(found.dims[1] == 3);
  const sl_layer_options options = zeroed<sl_layer_options>();
  return Layer(R"({"type":"Embedding","dimension":3,"num_embeddings":3})", weights, &options);
}

std::vector<int32_t> decode(const sl_decoder_options& options, int count) {
  const Layer layer = token_model();
  sl_error error = zeroed<sl_error>();
  sl_decoder* decoder = nullptr;
  const sl_status status = sl_decoder_create(layer.get(), &options, &decoder, &error);
  INFO(error.message);
  REQUIRE(status == SL_STATUS_OK);
  std::vector<int32_t> tokens(static_cast<size_t>(count), -1);
  for (int32_t& token : tokens)
    CHECK(sl_decoder_sample(decoder, &token, nullptr, nullptr, nullptr, &error) == SL_STATUS_OK);
  sl_decoder_free(decoder);
  return tokens;
}

TEST_CASE("fault 8: a zeroed decoder takes the most likely tokens and never stops", "[f08]") {
  using Tokens = std::vector<int32_t>;
  sl_decoder_options options = zeroed<sl_decoder_options>();
  CHECK(decode(options, 5) == Tokens{1, 2, 0, 1, 2});
  CHECK(decode(SL_DECODER_OPTIONS_INIT, 5) == Tokens{1, 2, 0, 1, 2});
  options.stop_token = -1;
  CHECK(decode(options, 5) == Tokens{1, 2, 0, 1, 2});
  options.stop_token = 2;
  options.pad_token = 1;
  CHECK(decode(options, 5) == Tokens{1, 2, 1, 1, 1});
  options.stop_token = 0;
  options.stop_at_zero = 1;
  CHECK(decode(options, 5) == Tokens{1, 2, 0, 1, 1});
  // A top_p of 0 means 1.
  options = zeroed<sl_decoder_options>();
  options.temperature = 8;
  const Tokens all = decode(options, 50);
  options.top_p = 1;
  CHECK(decode(options, 50) == all);
}

// Custom layers whose callbacks overwrite output structs with zeroed ones, as languages do that
// return structs by value.
sl_layer_properties g_properties;

sl_status create(void*, const char*, const sl_weight_source*, void** instance, sl_error*) {
  *instance = nullptr;
  return SL_STATUS_OK;
}

sl_status properties(const void*, sl_layer_properties* out, sl_error*) {
  *out = g_properties;
  return SL_STATUS_OK;
}

sl_status output_spec(const void*, const sl_channel_spec* input, sl_channel_spec* out, sl_error*) {
  *out = zeroed<sl_channel_spec>();
  out->dtype = input->dtype;
  return SL_STATUS_OK;
}

sl_status negate(const void*, const sl_sequence* x, sl_sequence* y, sl_error*) {
  *static_cast<float*>(y->data) = -*static_cast<const float*>(x->data);
  return SL_STATUS_OK;
}

Layer make_custom(const sl_layer_properties& given) {
  g_properties = given;
  sl_layer_callbacks callbacks = zeroed<sl_layer_callbacks>();
  callbacks.create = create;
  callbacks.properties = properties;
  callbacks.output_spec = output_spec;
  callbacks.layer = negate;
  const CustomType custom("Negate", callbacks);
  return Layer(R"({"type":"Negate"})", &custom.options);
}

TEST_CASE("fault 8: a custom layer with zeroed properties is pointwise", "[f08]") {
  const Layer layer = make_custom(zeroed<sl_layer_properties>());
  CHECK(layer.block_size() == 1);
  CHECK(layer.supports_step());
  CHECK(layer.output_latency() == 0);
  int64_t numerator = 0, denominator = 0;
  CHECK(sl_layer_output_ratio(layer.get(), &numerator, &denominator, nullptr) == SL_STATUS_OK);
  CHECK(numerator == 1);
  CHECK(denominator == 1);
  const State state(layer, zeroed<sl_state_options>());
  float in = 2, out = 0;
  const sl_sequence x = view({1, 1}, &in);
  sl_sequence y = view({1, 1}, &out);
  CHECK(sl_layer_step(layer.get(), state.get(), &x, &y, nullptr, nullptr) == SL_STATUS_OK);
  CHECK(out == -2);
}

TEST_CASE("fault 8: properties other than the default can still be expressed", "[f08]") {
  sl_layer_properties given = zeroed<sl_layer_properties>();
  given.layer_wise_only = 1;
  CHECK(!make_custom(given).supports_step());
  given = zeroed<sl_layer_properties>();
  given.block_size = 6;
  given.output_ratio_denominator = 3;
  given.input_latency = 7;
  CHECK(make_custom(given).output_latency() == 2);
  given.output_latency = 1;
  CHECK(make_custom(given).output_latency() == 1);
  given.output_latency = -1;
  CHECK(make_custom(given).output_latency() == 0);
}

TEST_CASE("fault 8: level 0 of the log is the default", "[f08]") {
  static int count;
  count = 0;
  const auto callback = [](void*, int32_t, const char*) { ++count; };
  sl_log_set(callback, nullptr, 0);
  make(kRelu);
  CHECK(count == 0);
  sl_log_set(callback, nullptr, SL_LOG_INFO);
  make(kRelu);
  CHECK(count == 1);
  sl_log_set(nullptr, nullptr, 0);
}

// Compares field by field, as there is padding between struct_size and a pointer.
template <typename T>
bool same_fields(const T& a, const T& b) {
  constexpr size_t kFrom = requires { a.user_data; }
  ? sizeof(void*) : sizeof(uint32_t);
  const auto* of_a = reinterpret_cast<const unsigned char*>(&a);
  const auto* of_b = reinterpret_cast<const unsigned char*>(&b);
  return a.struct_size == b.struct_size &&
         std::memcmp(of_a + kFrom, of_b + kFrom, sizeof(T) - kFrom) == 0;
}

// Checks that `init` sets what the macro sets, and writes nothing behind the struct.
template <typename T>
void check_init(void (*init)(T*), const T& macro) {
  struct {
    T made;
    unsigned char behind[8];
  } memory;
  std::memset(static_cast<void*>(&memory), 0xa5, sizeof(memory));
  init(&memory.made);
  CHECK(same_fields(memory.made, macro));
  for (const unsigned char byte : memory.behind) CHECK(byte == 0xa5);
  T zero = zeroed<T>();
  zero.struct_size = sizeof(T);
  if constexpr (requires { zero.input; }) zero.input.struct_size = sizeof(zero.input);
  CHECK(same_fields(zero, macro));
  init(nullptr);
}

TEST_CASE("fault 8: every macro and init function sets struct_size and zeros", "[f08]") {
  check_init<sl_error>(sl_error_init, SL_ERROR_INIT);
  check_init<sl_channel_spec>(sl_channel_spec_init, SL_CHANNEL_SPEC_INIT);
  check_init<sl_sequence>(sl_sequence_init, SL_SEQUENCE_INIT);
  check_init<sl_constant_info>(sl_constant_info_init, SL_CONSTANT_INFO_INIT);
  check_init<sl_step_difference>(sl_step_difference_init, SL_STEP_DIFFERENCE_INIT);
  check_init<sl_allocator>(sl_allocator_init, SL_ALLOCATOR_INIT);
  check_init<sl_layer_properties>(sl_layer_properties_init, SL_LAYER_PROPERTIES_INIT);
  check_init<sl_layer_callbacks>(sl_layer_callbacks_init, SL_LAYER_CALLBACKS_INIT);
  check_init<sl_layer_options>(sl_layer_options_init, SL_LAYER_OPTIONS_INIT);
  check_init<sl_run_options>(sl_run_options_init, SL_RUN_OPTIONS_INIT);
  check_init<sl_state_options>(sl_state_options_init, SL_STATE_OPTIONS_INIT);
  check_init<sl_decoder_options>(sl_decoder_options_init, SL_DECODER_OPTIONS_INIT);
  check_init<sl_pipe_options>(sl_pipe_options_init, SL_PIPE_OPTIONS_INIT);
}

}  // namespace
}  // namespace sl::testing
