// Fault 2: reading or running nested configs overflowed the thread's stack.
#include <pthread.h>

#include <catch2/catch.hpp>
#include <functional>
#include <stdexcept>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using Handle = sequence_layers::Handle<sl_layer>;

constexpr int kMaxDepth = 32;  // as documented in docs/model-format.md
constexpr size_t kCreation = size_t{128} << 10;
constexpr size_t kRuns = size_t{64} << 10;

// Runs fn on a thread with that stack size. Sanitizers need more, and get it.
void on_stack(size_t bytes, const std::function<void()>& fn) {
#if defined(SL_SANITIZE_ADDRESS) || defined(SL_SANITIZE_THREAD)
  bytes *= 16;
#endif
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (pthread_attr_setstacksize(&attributes, bytes) != 0) throw std::runtime_error("no stack");
  pthread_t thread;
  const auto run = [](void* context) -> void* {
    (*static_cast<const std::function<void()>*>(context))();
    return nullptr;
  };
  const auto context = const_cast<std::function<void()>*>(&fn);
  if (pthread_create(&thread, &attributes, run, context) != 0)
    throw std::runtime_error("no thread");
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

// The text of a layer's config before and after its child.
struct Wrapper {
  const char* before;
  const char* after;
};
constexpr Wrapper kWrappers[] = {
    {R"({"type":"Serial","layers":[)", "]}"},
    {R"({"type":"Residual","layers":[)", "]}"},
    {R"({"type":"Residual","layers":[)", R"(],"shortcut_layers":[{"type":"Identity"}]})"},
    {R"({"type":"Residual","layers":[{"type":"Identity"}],"shortcut_layers":[)", "]}"},
    {R"({"type":"Parallel","combination":"add","layers":[)", "]}"},
    {R"({"type":"Repeat","num_repeats":2,"layer":)", "}"},
    {R"({"type":"CheckpointGradient","layer":)", "}"},
    {R"({"type":"Bidirectional","combination":"add","backward":{"type":"Identity"},"forward":)",
     "}"},
};

std::string nested(const Wrapper& wrapper, int levels, const std::string& innermost) {
  std::string out;
  for (int i = 0; i < levels; ++i) out += wrapper.before;
  out += innermost;
  for (int i = 0; i < levels; ++i) out += wrapper.after;
  return out;
}

Failure create(const std::string& config, const sl_weights* weights, Handle* out,
               const char* weight_format = nullptr) {
  return failure_of([&](sl_error* e) {
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    options.weight_format = weight_format;
    sl_layer* layer = nullptr;
    const sl_status status =
        sl_layer_create(config.data(), config.size(), weights, &options, &layer, e);
    out->reset(layer);
    return status;
  });
}

// Calls every function on a model. Returns failures as text, as an exception could not leave the
// thread.
void use(const Handle& layer, sl_dtype dtype, const sl_channel_spec& input,
         std::vector<std::string>* failures) {
  const auto note = [&](const Failure& failure) {
    if (failure.status != SL_STATUS_OK && failure.status != SL_STATUS_UNSUPPORTED)
      failures->push_back(failure.message);
    return failure.status == SL_STATUS_OK;
  };
  size_t needed = 0;
  int64_t a = 0, b = 0;
  int32_t exists = 0;
  int64_t block = 1;
  note(failure_of([&](sl_error* e) { return sl_layer_block_size(layer.get(), &block, e); }));
  note(failure_of([&](sl_error* e) {
    return sl_layer_describe(layer.get(), &input, nullptr, 0, nullptr, 0, &needed, e);
  }));
  note(failure_of(
      [&](sl_error* e) { return sl_layer_receptive_field(layer.get(), &exists, &a, &b, e); }));
  note(failure_of([&](sl_error* e) { return sl_layer_output_latency(layer.get(), &a, e); }));
  note(failure_of(
      [&](sl_error* e) { return sl_layer_emit_count(layer.get(), &input, nullptr, 0, e); }));
  std::vector<int64_t> dims = {1, 2 * block};
  dims.insert(dims.end(), input.dims, input.dims + input.rank);
  const Tensor x = make_sequence(dtype, dims);
  const sl_sequence in = x.view();
  const auto run = [&](sl_mode mode, auto&& call) {
    sl_sequence y = SL_SEQUENCE_INIT;
    if (!note(failure_of([&](sl_error* e) {
          return sl_layer_output_shape(layer.get(), mode, &in, nullptr, &y, e);
        })))
      return;
    Tensor out = make_sequence(y.dtype, {y.dims, y.dims + y.rank});
    y = out.view();
    note(failure_of([&](sl_error* e) { return call(&y, e); }));
  };
  run(SL_MODE_LAYER,
      [&](sl_sequence* y, sl_error* e) { return sl_layer_apply(layer.get(), &in, y, nullptr, e); });
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input = input;
  options.max_steps = 2 * block;
  sl_state* state = nullptr;
  if (!note(failure_of(
          [&](sl_error* e) { return sl_state_alloc(layer.get(), &options, &state, e); })))
    return;
  run(SL_MODE_STEP, [&](sl_sequence* y, sl_error* e) {
    return sl_layer_step(layer.get(), state, &in, y, nullptr, e);
  });
  sl_state_free(state);
}

TEST_CASE("fault 2: the deepest models are made on 128 KiB and run on 64 KiB", "[f02]") {
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT;
  input.rank = 1;
  input.dims[0] = 2;
  for (const Wrapper& wrapper : kWrappers) {
    // Nested Repeats multiply their counts.
    const bool repeats = std::string(wrapper.before).find("Repeat") != std::string::npos;
    std::string config = nested(wrapper, repeats ? 12 : kMaxDepth - 1, R"({"type":"Relu"})");
    if (repeats) config = nested(kWrappers[1], kMaxDepth - 13, config);
    INFO(config);
    Handle layer;
    Failure failure;
    on_stack(kCreation, [&] { failure = create(config, nullptr, &layer); });
    INFO(failure.message);
    REQUIRE(failure.status == SL_STATUS_OK);
    std::vector<std::string> failures;
    on_stack(kRuns, [&] {
      use(layer, SL_DTYPE_FLOAT32, input, &failures);
      layer.reset();
    });
    CHECK(failures == std::vector<std::string>());
  }
}

TEST_CASE("fault 2: products that quantize rows on the stack run at the maximum depth", "[f02]") {
  constexpr int64_t kWidth = 64;
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT;
  input.rank = 1;
  input.dims[0] = kWidth;
  for (const Wrapper& wrapper : kWrappers) {
    if (std::string(wrapper.before).find("Repeat") != std::string::npos) continue;
    const std::string config = nested(wrapper, kMaxDepth - 1, R"({"type":"Dense","features":64})");
    INFO(config);
    std::mt19937 rng(1);
    const Weights weights = make_weights(config, {{"", {kWidth, {}, {}}}}, rng);
    Handle layer;
    Failure failure;
    on_stack(kCreation, [&] { failure = create(config, weights.get(), &layer, "int8"); });
    INFO(failure.message);
    REQUIRE(failure.status == SL_STATUS_OK);
    std::vector<std::string> failures;
    on_stack(kRuns, [&] { use(layer, SL_DTYPE_FLOAT32, input, &failures); });
    CHECK(failures == std::vector<std::string>());
  }
}

TEST_CASE("fault 2: layers of every kind are made and run at the maximum depth", "[f02]") {
  for (const Sample& sample : samples()) {
    const std::string config = nested(kWrappers[0], kMaxDepth - 5, sample.config);
    INFO(sample.name);
    std::mt19937 rng(1);
    const Weights weights = make_weights(config, {{"", {any_size(sample), {}, {}}}}, rng);
    Handle layer;
    Failure failure;
    on_stack(kCreation, [&] { failure = create(config, weights.get(), &layer); });
    INFO(failure.message);
    REQUIRE(failure.status == SL_STATUS_OK);
    std::vector<std::string> failures;
    on_stack(kRuns, [&] { use(layer, sample.dtype, spec_of(sample), &failures); });
    CHECK(failures == std::vector<std::string>());
  }
}

TEST_CASE("fault 2: layers that run others block by block have a lower maximum depth", "[f02]") {
  const Wrapper autoregressive = {
      R"({"type":"Autoregressive","layer":[{"type":"Dense","features":1},)", "]}"};
  const std::string config =
      nested(kWrappers[1], kMaxDepth - 5, nested(autoregressive, 4, R"({"type":"Relu"})"));
  std::mt19937 rng(1);
  const Weights weights = make_weights(config, {{"", {2, {}, {}}}}, rng);
  Handle layer;
  Failure failure;
  on_stack(kCreation, [&] { failure = create(config, weights.get(), &layer); });
  INFO(failure.message);
  REQUIRE(failure.status == SL_STATUS_OK);
  sl_channel_spec input = SL_CHANNEL_SPEC_INIT;
  input.rank = 1;
  input.dims[0] = 1;
  std::vector<std::string> failures;
  on_stack(kRuns, [&] { use(layer, SL_DTYPE_FLOAT32, input, &failures); });
  CHECK(failures == std::vector<std::string>());

  std::string message;
  try {
    make_weights(nested(autoregressive, 5, R"({"type":"Relu"})"), {{"", {2, {}, {}}}}, rng);
  } catch (const std::exception& error) {
    message = error.what();
  }
  CHECK_THAT(message, Contains("at most 4 Autoregressive"));
}

TEST_CASE("fault 2: deeper models are refused on any stack that can read them", "[f02]") {
  for (const Wrapper& wrapper : kWrappers) {
    for (const int levels : {kMaxDepth, 199, 5000}) {
      const std::string config = nested(wrapper, levels, R"({"type":"Relu"})");
      Handle layer;
      Failure failure;
      on_stack(kCreation, [&] { failure = create(config, nullptr, &layer); });
      CHECK(failure.status == SL_STATUS_CONFIG);
      CHECK_THAT(failure.message, Contains("deeper"));
    }
  }
}

TEST_CASE("fault 2: brackets in one field are refused on any stack", "[f02]") {
  for (const size_t count : {size_t{11}, size_t{60}, size_t{1990}, size_t{1} << 20}) {
    for (const bool closed : {false, true}) {
      for (const char* field : {"shift", "kernel_init", "name", "type", "nonsense"}) {
        const std::string config = std::string(R"({"type":"Add",")") + field +
                                   "\":" + std::string(count, '[') +
                                   (closed ? std::string(count, ']') + "}" : "");
        Handle layer;
        Failure failure;
        on_stack(kCreation, [&] { failure = create(config, nullptr, &layer); });
        CHECK(failure.status == SL_STATUS_CONFIG);
        CHECK(failure.message.size() < 500);
      }
    }
  }
}

}  // namespace
}  // namespace sl::testing
