// Fault 4: when an allocation failed, exceptions left functions that must not throw, and the
// process ended. Handles leaked, and threads stayed joinable.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "faults/faults.h"
#include "support/allocation_failures.h"
#include "support/models.h"

namespace sl::testing {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A model that makes every kind of allocation, with its weights, in memory and as a directory.
struct Mixed {
  std::string config = read_file(fault_input("trust/out_of_memory_model.json"));
  Weights weights;
  std::string directory = scratch_directory();
  int64_t channels = 5;

  Mixed() {
    std::mt19937 rng(4);
    weights = make_weights(config, {{"conv", {channels, {}, {}}}, {"", {4, {}, {}}}}, rng);
    write_model(directory, config, weights);
  }

  Layer layer(const sl_layer_options& options) const { return Layer(config, weights, &options); }
};

const Mixed& mixed() {
  static const Mixed model;
  return model;
}

// Packed float32 sequences with one batch item and all steps valid. They own their memory.
struct Signal {
  explicit Signal(int64_t steps, int64_t channels)
      : values(static_cast<size_t>(steps * channels)), mask(static_cast<size_t>(steps), 1) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) * 0.25f - 0.5f;
    view.rank = 3;
    view.dims[0] = 1;
    view.dims[1] = steps;
    view.dims[2] = channels;
    view.data = values.data();
    view.mask = mask.data();
  }
  std::vector<float> values;
  std::vector<uint8_t> mask;
  sl_sequence view = SL_SEQUENCE_INIT;
};

sl_channel_spec channels_of(sl_dtype dtype, std::vector<int64_t> dims) {
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  spec.dtype = dtype;
  spec.rank = static_cast<int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), spec.dims);
  return spec;
}

#define SL_TRY(call)                         \
  do {                                       \
    const sl_status tried = (call);          \
    if (tried != SL_STATUS_OK) return tried; \
  } while (false)

template <typename T, void (*kFree)(T*)>
struct Handle {
  T* get = nullptr;
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { kFree(get); }
};
using LayerHandle = Handle<sl_layer, sl_layer_free>;
using StateHandle = Handle<sl_state, sl_state_free>;
using WeightsHandle = Handle<sl_weights, sl_weights_free>;
using RegistryHandle = Handle<sl_registry, sl_registry_free>;
using DecoderHandle = Handle<sl_decoder, sl_decoder_free>;
using PipeHandle = Handle<sl_pipe, sl_pipe_free>;

// Makes each allocation on both heaps fail, alone and together with all later ones.
void check_use(const char* name, const Use& use) {
  if (!AllocationFailures::available()) return;
  for (const Heap heap : {Heap::kMalloc, Heap::kHook}) {
    for (const Failing failing : {Failing::kOne, Failing::kFromThere}) {
      const Sweep sweep = sweep_failures(use, heap, failing);
      INFO(name << ", " << (heap == Heap::kHook ? "hook" : "malloc")
                << (failing == Failing::kOne ? ", one" : ", from there on") << ", " << sweep.points
                << " points");
      CHECK(sweep.problem == "");
      CHECK(sweep.leaks == 0);
      CHECK((heap == Heap::kHook || sweep.points > 0));
    }
  }
}

sl_layer_options options_of(const sl_allocator* allocator, int32_t threads = 1) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.allocator = allocator;
  options.num_threads = threads;
  return options;
}

const sl_allocator kAllocator = failing_allocator();

TEST_CASE("fault 4: failed allocations while a layer is created", "[f04]") {
  const Mixed& m = mixed();
  const int32_t threads = GENERATE(1, 4);
  const sl_layer_options options = options_of(&kAllocator, threads);
  check_use("from memory", [&](sl_error* error) {
    LayerHandle layer;
    return sl_layer_create(m.config.data(), m.config.size(), m.weights.get(), &options, &layer.get,
                           error);
  });
  check_use("from a directory", [&](sl_error* error) {
    LayerHandle layer;
    return sl_layer_open(m.directory.c_str(), &options, &layer.get, error);
  });
}

TEST_CASE("fault 4: failed allocations in sets of weights", "[f04]") {
  const Mixed& m = mixed();
  const std::string path = m.directory + "/model.safetensors", image = read_file(path);
  const Signal tensor(3, 4);
  check_use("weights", [&](sl_error* error) {
    WeightsHandle opened, read, made;
    SL_TRY(sl_weights_open(path.c_str(), &opened.get, error));
    SL_TRY(sl_weights_read(image.data(), image.size(), &read.get, error));
    SL_TRY(sl_weights_create(&made.get, error));
    for (const char* name : {"params.a tensor with a long name", "params.b", "params.c"}) {
      const int64_t count = sl_weights_tensor_count(made.get);
      const sl_status added = sl_weights_add(made.get, name, &tensor.view, error);
      if (added == SL_STATUS_OK) continue;
      // All tensors that are counted must exist, or none.
      if (sl_weights_tensor_count(made.get) != count) return sl_status{SL_STATUS_INTERNAL};
      for (int64_t i = 0; i < count; ++i) {
        const char* found = nullptr;
        sl_sequence view = SL_SEQUENCE_INIT;
        if (sl_weights_tensor(made.get, i, &found, &view, nullptr) != SL_STATUS_OK || !view.data)
          return sl_status{SL_STATUS_INTERNAL};
      }
      return added;
    }
    return sl_status{SL_STATUS_OK};
  });
}

TEST_CASE("fault 4: failed allocations in queries of a layer", "[f04]") {
  const Layer layer = mixed().layer(options_of(&kAllocator));
  const sl_channel_spec input = channels_of(SL_DTYPE_FLOAT32, {mixed().channels});
  check_use("describe", [&](sl_error* error) {
    char text[8192];
    size_t needed = 0;
    sl_channel_spec out = SL_CHANNEL_SPEC_INIT;
    int64_t start = 0, end = 0;
    int32_t exists = 0;
    SL_TRY(sl_layer_describe(layer.get(), &input, nullptr, 0, text, sizeof(text), &needed, error));
    SL_TRY(sl_layer_output_spec(layer.get(), &input, nullptr, 0, &out, error));
    if (sl_layer_emit_count(layer.get(), &input, nullptr, 0, error) < 0) return error->code;
    SL_TRY(sl_layer_receptive_field(layer.get(), &exists, &start, &end, error));
    return sl_layer_receptive_field_at(layer.get(), 0, &exists, &start, &end, error);
  });
}

TEST_CASE("fault 4: failed allocations in states", "[f04]") {
  const Mixed& m = mixed();
  const Layer layer = m.layer(options_of(&kAllocator));
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input = channels_of(SL_DTYPE_FLOAT32, {m.channels});
  options.max_steps = 4;
  const Signal x(4, m.channels);
  Signal y(4, 3);
  std::vector<char> saved(1 << 16);
  size_t size = 0, alignment = 0;
  REQUIRE(sl_state_size(layer.get(), &options, &size, &alignment, nullptr) == SL_STATUS_OK);
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  check_use("state", [&](sl_error* error) {
    StateHandle state, other, given;
    SL_TRY(sl_state_alloc(layer.get(), &options, &state.get, error));
    SL_TRY(sl_state_prepare(state.get, nullptr, 0, error));
    SL_TRY(sl_layer_step(layer.get(), state.get, &x.view, &y.view, nullptr, error));
    const size_t bytes = sl_state_save_size(state.get);
    SL_TRY(sl_state_save(state.get, saved.data(), saved.size(), error));
    SL_TRY(sl_state_alloc(layer.get(), &options, &other.get, error));
    SL_TRY(sl_state_load(other.get, saved.data(), bytes, error));
    SL_TRY(sl_state_copy(other.get, state.get, error));
    SL_TRY(sl_state_reset(state.get, error));
    SL_TRY(sl_state_size(layer.get(), &options, &size, &alignment, error));
    SL_TRY(sl_state_alloc_in(layer.get(), &options, memory, size, &given.get, error));
    return sl_layer_step(layer.get(), given.get, &x.view, &y.view, nullptr, error);
  });
  std::free(memory);
}

// A caller's parallel_for that runs the tasks in a plain loop.
void loop_for(void*, int64_t count, void (*task)(void*, int64_t), void* context) {
  for (int64_t i = 0; i < count; ++i) task(context, i);
}

TEST_CASE("fault 4: failed allocations in runs", "[f04]") {
  const Mixed& m = mixed();
  constexpr int64_t kSteps = 600, kDelay = 2;
  sl_layer_options options = options_of(&kAllocator, 4);
  SECTION("on threads") {}
  SECTION("on a caller's threads") { options.parallel_for = loop_for; }
  const Layer layer = m.layer(options);
  const Signal x(kSteps, m.channels);
  Signal y(kSteps + kDelay, 3);
  REQUIRE(sl_layer_apply(layer.get(), &x.view, &y.view, nullptr, nullptr) == SL_STATUS_OK);
  const std::vector<float> expected = y.values;
  check_use("apply", [&](sl_error* error) {
    std::fill(y.values.begin(), y.values.end(), 0.0f);
    SL_TRY(sl_layer_apply(layer.get(), &x.view, &y.view, nullptr, error));
    return sl_status{y.values == expected ? SL_STATUS_OK : SL_STATUS_INTERNAL};
  });

  sl_state_options state_options = SL_STATE_OPTIONS_INIT;
  state_options.input = channels_of(SL_DTYPE_FLOAT32, {m.channels});
  y.view.dims[1] = kSteps;  // delayed steps remain in the state
  StateHandle state;
  REQUIRE(sl_state_alloc(layer.get(), &state_options, &state.get, nullptr) == SL_STATUS_OK);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.state = state.get;
  std::vector<char> before(sl_state_save_size(state.get)), after(before.size());
  check_use("apply to a state", [&](sl_error* error) {
    sl_state_reset(state.get, nullptr);
    sl_state_save(state.get, before.data(), before.size(), nullptr);
    const sl_status status = sl_layer_apply(layer.get(), &x.view, &y.view, &run, error);
    sl_state_save(state.get, after.data(), after.size(), nullptr);
    // A failed run must not change the state.
    return sl_status{(status == SL_STATUS_OK) != (before == after) ? status : SL_STATUS_INTERNAL};
  });
}

TEST_CASE("fault 4: failed allocations in decoders", "[f04]") {
  const char* config =
      R"({"type":"Serial","layers":[{"type":"Embedding","dimension":4,"num_embeddings":9},)"
      R"({"type":"LSTM","units":4},{"type":"Dense","features":9}]})";
  const sl_layer_options layer_options = options_of(&kAllocator, 2);
  const Layer layer = make_model(config, 4, &layer_options);
  sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
  options.batch = 1;
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6};
  std::vector<float> log_probs(tokens.size());
  sl_sequence in = SL_SEQUENCE_INIT, out = SL_SEQUENCE_INIT;
  in.dtype = SL_DTYPE_INT32;
  in.rank = out.rank = 2;
  in.dims[0] = out.dims[0] = 1;
  in.dims[1] = out.dims[1] = static_cast<int64_t>(tokens.size());
  in.data = tokens.data();
  out.data = log_probs.data();
  check_use("decoder", [&](sl_error* error) {
    DecoderHandle decoder, other;
    int32_t token = 0;
    SL_TRY(sl_decoder_create(layer.get(), &options, &decoder.get, error));
    SL_TRY(sl_decoder_log_prob(decoder.get, &in, &out, nullptr, error));
    SL_TRY(sl_decoder_prefill(decoder.get, &in, nullptr, error));
    SL_TRY(sl_decoder_sample(decoder.get, &token, nullptr, nullptr, nullptr, error));
    SL_TRY(sl_decoder_create(layer.get(), &options, &other.get, error));
    SL_TRY(sl_decoder_copy(other.get, decoder.get, error));
    return sl_decoder_reset(decoder.get, error);
  });
}

TEST_CASE("fault 4: failed allocations in pipes", "[f04]") {
  const sl_layer_options layer_options = options_of(&kAllocator);
  const Layer layer =
      make_model(R"({"type":"Serial","layers":[{"type":"Conv1D","filters":2,"kernel_size":5,)"
                 R"("padding":"causal"},{"type":"LSTM","units":2}]})",
                 2, &layer_options);
  sl_pipe_options options = SL_PIPE_OPTIONS_INIT;
  options.max_frames = 64;
  options.host_rate = GENERATE(16000.0, 44100.0);
  options.model_rate = 16000;
  options.allocator = &kAllocator;
  std::vector<float> left(64, 0.5f), right(64, -0.5f);
  float* channels[] = {left.data(), right.data()};
  check_use("pipe", [&](sl_error* error) {
    PipeHandle next, pipe;  // the next is freed after the one that it is swapped with
    SL_TRY(sl_pipe_create(layer.get(), &options, &pipe.get, error));
    SL_TRY(sl_pipe_create(layer.get(), &options, &next.get, error));
    SL_TRY(sl_pipe_process(pipe.get, channels, channels, 64, error));
    SL_TRY(sl_pipe_swap(pipe.get, next.get, error));
    SL_TRY(sl_pipe_process(pipe.get, channels, channels, 64, error));
    if (sl_pipe_flush(pipe.get, channels, 64, error) < 0) return error->code;
    return sl_pipe_reset(pipe.get, error);
  });
}

// A custom layer that adds its bias, of which it keeps a copy on the heap.
struct Bias {
  std::vector<float> values;
};

sl_status make_bias(void*, const char*, const sl_weight_source* weights, void** instance,
                    sl_error* error) {
  sl_sequence bias = SL_SEQUENCE_INIT;
  SL_TRY(sl_weight_source_find(weights, nullptr, "bias", &bias, error));
  const auto* from = static_cast<const float*>(bias.data);
  try {
    *instance = new Bias{{from, from + bias.dims[0]}};
    return SL_STATUS_OK;
  } catch (const std::bad_alloc&) {
    return SL_STATUS_OUT_OF_MEMORY;
  }
}

sl_status add_bias(const void* instance, const sl_sequence* x, sl_sequence* y, sl_error*) {
  const auto& bias = static_cast<const Bias*>(instance)->values;
  const int64_t size = x->dims[0] * x->dims[1] * x->dims[2];
  for (int64_t i = 0; i < size; ++i) {
    static_cast<float*>(y->data)[i] =
        static_cast<const float*>(x->data)[i] + bias[static_cast<size_t>(i) % bias.size()];
  }
  return SL_STATUS_OK;
}

TEST_CASE("fault 4: failed allocations in custom layers", "[f04]") {
  const std::string config =
      R"({"type":"Serial","layers":[{"type":"MyBias","name":"b"},{"type":"Relu"}]})";
  const Signal bias(1, 4), x(5, 4);
  Signal y(5, 4);
  WeightsHandle weights;
  REQUIRE(sl_weights_create(&weights.get, nullptr) == SL_STATUS_OK);
  sl_sequence tensor = SL_SEQUENCE_INIT;
  tensor.rank = 1;
  tensor.dims[0] = 4;
  tensor.data = const_cast<float*>(bias.values.data());
  REQUIRE(sl_weights_add(weights.get, "params.b.bias", &tensor, nullptr) == SL_STATUS_OK);
  sl_layer_callbacks callbacks = SL_LAYER_CALLBACKS_INIT;
  callbacks.create = make_bias;
  callbacks.destroy = [](void* instance) { delete static_cast<Bias*>(instance); };
  callbacks.layer = add_bias;
  check_use("custom layer", [&](sl_error* error) {
    RegistryHandle registry;
    LayerHandle layer;
    SL_TRY(sl_registry_create(&registry.get, error));
    const int64_t count = sl_registry_type_count(registry.get);
    if (const sl_status status = sl_registry_add(registry.get, "MyBias", &callbacks, error)) {
      const bool as_before = sl_registry_type_count(registry.get) == count;
      // After a failed registration, the name must still be free.
      return as_before && status == SL_STATUS_OUT_OF_MEMORY ? status
                                                            : sl_status{SL_STATUS_INTERNAL};
    }
    sl_layer_options options = options_of(&kAllocator);
    options.registry = registry.get;
    SL_TRY(sl_layer_create(config.data(), config.size(), weights.get, &options, &layer.get, error));
    return sl_layer_apply(layer.get, &x.view, &y.view, nullptr, error);
  });
}

}  // namespace
}  // namespace sl::testing
