// Programs built with older headers have shorter structs, and those with newer headers longer ones.
// Every call that takes a struct that can grow must accept all of them.
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <regex>
#include <set>

#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

// A caller's struct of `size` bytes. The memory behind it is poisoned, so that reads give invalid
// pointers and writes are detected.
template <typename T>
class Sized {
 public:
  Sized(const T& value, size_t size) : size_(size), memory_(size, 0) {
    memory_.resize(size + kPoisoned, kPoison);
    std::memcpy(memory_.data(), &value, std::min(size, sizeof(T)));
    const auto struct_size = static_cast<uint32_t>(size);
    std::memcpy(memory_.data(), &struct_size, sizeof(struct_size));
  }
  T* get() { return reinterpret_cast<T*>(memory_.data()); }
  unsigned char& byte(size_t at) { return memory_[at]; }
  bool is_intact() const {
    return std::all_of(memory_.begin() + static_cast<std::ptrdiff_t>(size_), memory_.end(),
                       [](unsigned char byte) { return byte == kPoison; });
  }

 private:
  static constexpr size_t kPoisoned = 256;
  static constexpr unsigned char kPoison = 0xa5;
  size_t size_;
  std::vector<unsigned char> memory_;
};

template <typename T>
using Use = std::function<sl_status(const T* given, sl_error* error)>;

// A call that reads a struct, of which it needs the fields up to `least` bytes.
template <typename T>
void check_input(const char* call, const T& value, size_t least, const Use<T>& use) {
  INFO(call);
  const auto with = [&](size_t size, size_t set_byte = 0) {
    Sized<T> sized(value, size);
    if (set_byte != 0) sized.byte(set_byte) = 1;
    const Failure failure = failure_of([&](sl_error* e) { return use(sized.get(), e); });
    CHECK(sized.is_intact());
    return failure;
  };
  for (size_t size = least; size <= sizeof(T); size += 4) {
    INFO("struct_size " << size);
    CHECK(with(size).message == "");
  }
  CHECK(with(sizeof(T) + 32).message == "");
  CHECK(with(4096).message == "");
  for (const size_t at : {sizeof(T), sizeof(T) + 31}) {
    const Failure failure = with(sizeof(T) + 32, at);
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("byte " + std::to_string(at) + " is not zero"));
  }
  for (const size_t size : {size_t{3}, size_t{4097}}) {
    Sized<T> bad(value, 4100);
    const auto struct_size = static_cast<uint32_t>(size);
    std::memcpy(bad.get(), &struct_size, sizeof(struct_size));
    const Failure refused = failure_of([&](sl_error* e) { return use(bad.get(), e); });
    CHECK(refused.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(refused.message, Contains("struct_size is " + std::to_string(size)));
  }
}

// A call that writes a struct: it fills the part that the caller has, and zeros what only the
// caller knows.
template <typename T>
void check_output(const char* call, const std::function<sl_status(T* out, sl_error* error)>& use) {
  INFO(call);
  T full{};
  full.struct_size = sizeof(T);
  sl_error error = SL_ERROR_INIT;
  REQUIRE(use(&full, &error) == SL_STATUS_OK);
  for (size_t size = sizeof(uint32_t); size <= sizeof(T) + 32; size += 4) {
    INFO("struct_size " << size);
    T poison;
    std::memset(static_cast<void*>(&poison), 0x5a, sizeof(T));
    Sized<T> sized(poison, size);
    for (size_t at = sizeof(T); at < size; ++at) sized.byte(at) = 0x5a;
    CHECK(use(sized.get(), &error) == SL_STATUS_OK);
    CHECK(sized.is_intact());
    CHECK(sized.get()->struct_size == size);
    const size_t known = std::min(size, sizeof(T)), first = sizeof(uint32_t);
    CHECK(std::memcmp(&sized.byte(0) + first, reinterpret_cast<const char*>(&full) + first,
                      known - first) == 0);
    for (size_t at = known; at < size; ++at) CHECK(sized.byte(at) == 0);
  }
  full.struct_size = 3;
  CHECK(use(&full, &error) == SL_STATUS_INVALID_ARGUMENT);
  full.struct_size = 4097;
  CHECK(use(&full, &error) == SL_STATUS_INVALID_ARGUMENT);
}

const std::string kAbs = R"({"type":"Abs"})";
const std::string kTokens = R"({"type":"Serial","layers":[)"
                            R"({"type":"Embedding","dimension":3,"num_embeddings":5},)"
                            R"({"type":"Dense","features":5}]})";

Layer layer_of(const std::string& config, const sl_layer_options* options = nullptr) {
  return Layer(config, options);
}

// Frees the handle that a call created, and returns the status of the call.
template <typename T>
sl_status freed(sl_status status, T* made, void (*free)(T*)) {
  free(made);
  return status;
}

TEST_CASE("layer options of any size", "[struct_size]") {
  const auto directory = std::filesystem::temp_directory_path() / "sl_struct_size";
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "config.json") << kAbs;
  check_input<sl_layer_options>("sl_layer_create", SL_LAYER_OPTIONS_INIT, 4,
                                [](const sl_layer_options* options, sl_error* e) {
                                  sl_layer* layer = nullptr;
                                  const sl_status status = sl_layer_create(
                                      kAbs.data(), kAbs.size(), nullptr, options, &layer, e);
                                  return freed(status, layer, sl_layer_free);
                                });
  check_input<sl_layer_options>(
      "sl_layer_open", SL_LAYER_OPTIONS_INIT, 4, [&](const sl_layer_options* options, sl_error* e) {
        sl_layer* layer = nullptr;
        const sl_status status = sl_layer_open(directory.c_str(), options, &layer, e);
        return freed(status, layer, sl_layer_free);
      });
  std::filesystem::remove_all(directory);
}

TEST_CASE("options of calibrations of any size", "[struct_size]") {
  const auto directory = std::filesystem::temp_directory_path() / "sl_struct_size_calibration";
  std::filesystem::create_directories(directory);
  const std::string config = R"({"type":"Dense","features":4})", path = directory.string();
  std::mt19937 rng(1);
  WeightHint hint;
  hint.any = 32;
  write_model(path, config, make_weights(config, {{"", hint}}, rng));
  const Tensor data = random_sequence(SL_DTYPE_FLOAT32, {1, 40, 32}, rng);
  const sl_sequence x = data.view();
  sl_layer_options int8 = SL_LAYER_OPTIONS_INIT;
  int8.weight_format = "int8";
  const size_t formats = offsetof(sl_layer_options, weight_format) + sizeof(const char*);
  const auto create = [&](const sl_layer_options* options, const sl_run_options* run, sl_error* e) {
    sl_calibration* made = nullptr;
    const sl_status status = sl_calibration_create(path.c_str(), options, &x, run, &made, e);
    return freed(status, made, sl_calibration_free);
  };
  check_input<sl_layer_options>(
      "sl_calibration_create", int8, formats,
      [&](const sl_layer_options* options, sl_error* e) { return create(options, nullptr, e); });
  check_input<sl_run_options>(
      "sl_calibration_create", SL_RUN_OPTIONS_INIT, 4,
      [&](const sl_run_options* run, sl_error* e) { return create(&int8, run, e); });
  const sequence_layers::Calibration calibration(path, &int8, x);
  check_input<sl_layer_options>("sl_layer_open_calibrated", SL_LAYER_OPTIONS_INIT, 4,
                                [&](const sl_layer_options* options, sl_error* e) {
                                  sl_layer* layer = nullptr;
                                  const sl_status status = sl_layer_open_calibrated(
                                      path.c_str(), options, calibration.get(), &layer, e);
                                  return freed(status, layer, sl_layer_free);
                                });
  std::filesystem::remove_all(directory);
}

TEST_CASE("run options of any size", "[struct_size]") {
  const Layer layer = layer_of(R"({"type":"Emit"})");
  sl_state_options state_options = SL_STATE_OPTIONS_INIT;
  const State state(layer, state_options);
  float in = 1, out = 0;
  sl_sequence x = SL_SEQUENCE_INIT;
  x.rank = 2;
  x.dims[0] = x.dims[1] = 1;
  x.data = &in;
  sl_sequence y = x;
  y.data = &out;
  const auto check = [](const char* call, const Use<sl_run_options>& use) {
    check_input<sl_run_options>(call, SL_RUN_OPTIONS_INIT, 4, use);
  };
  check("sl_layer_output_shape", [&](const sl_run_options* options, sl_error* e) {
    return sl_layer_output_shape(layer.get(), SL_MODE_LAYER, &x, options, &y, e);
  });
  check("sl_layer_emit_shape", [&](const sl_run_options* options, sl_error* e) {
    sl_sequence emit = SL_SEQUENCE_INIT;
    return sl_layer_emit_shape(layer.get(), SL_MODE_LAYER, &x, options, 0, nullptr, 0, &emit, e);
  });
  check("sl_layer_apply", [&](const sl_run_options* options, sl_error* e) {
    return sl_layer_apply(layer.get(), &x, &y, options, e);
  });
  check("sl_layer_step", [&](const sl_run_options* options, sl_error* e) {
    return sl_layer_step(layer.get(), state.get(), &x, &y, options, e);
  });
  const int64_t slot = 0;
  check("sl_layer_step_slots", [&](const sl_run_options* options, sl_error* e) {
    return sl_layer_step_slots(layer.get(), state.get(), &slot, 1, &x, &y, options, e);
  });
}

TEST_CASE("state options of any size", "[struct_size]") {
  const Layer layer = layer_of(kAbs);
  sl_state_options value = SL_STATE_OPTIONS_INIT;
  value.input.rank = 1;
  value.input.dims[0] = 2;
  const size_t least = offsetof(sl_state_options, constants);
  check_input<sl_state_options>(
      "sl_state_alloc", value, least, [&](const sl_state_options* options, sl_error* e) {
        sl_state* state = nullptr;
        const sl_status status = sl_state_alloc(layer.get(), options, &state, e);
        return freed(status, state, sl_state_free);
      });
  size_t size = 0, alignment = 0;
  check_input<sl_state_options>("sl_state_size", value, least,
                                [&](const sl_state_options* options, sl_error* e) {
                                  return sl_state_size(layer.get(), options, &size, &alignment, e);
                                });
  std::vector<unsigned char> memory(size + alignment);
  void* aligned = memory.data();
  size_t room = memory.size();
  REQUIRE(std::align(alignment, size, aligned, room) != nullptr);
  check_input<sl_state_options>(
      "sl_state_alloc_in", value, least, [&](const sl_state_options* options, sl_error* e) {
        sl_state* state = nullptr;
        const sl_status status = sl_state_alloc_in(layer.get(), options, aligned, size, &state, e);
        return freed(status, state, sl_state_free);
      });
}

TEST_CASE("a decoder's options of any size", "[struct_size]") {
  const Layer layer = make_model(kTokens, 3);
  sl_decoder_options value = SL_DECODER_OPTIONS_INIT;
  value.start_token = 1;
  check_input<sl_decoder_options>(
      "sl_decoder_create", value, offsetof(sl_decoder_options, stop_token),
      [&](const sl_decoder_options* options, sl_error* e) {
        sl_decoder* decoder = nullptr;
        const sl_status status = sl_decoder_create(layer.get(), options, &decoder, e);
        return freed(status, decoder, sl_decoder_free);
      });
  sl_decoder* made = nullptr;
  check([&](sl_error* e) { return sl_decoder_create(layer.get(), &value, &made, e); });
  const std::unique_ptr<sl_decoder, void (*)(sl_decoder*)> decoder(made, sl_decoder_free);
  int32_t token = 2;
  float log_prob = 0;
  sl_sequence tokens = SL_SEQUENCE_INIT;
  tokens.dtype = SL_DTYPE_INT32;
  tokens.rank = 2;
  tokens.dims[0] = tokens.dims[1] = 1;
  sl_sequence log_probs = tokens;
  log_probs.dtype = SL_DTYPE_FLOAT32;
  tokens.data = &token;
  log_probs.data = &log_prob;
  const auto check = [](const char* call, const Use<sl_run_options>& use) {
    check_input<sl_run_options>(call, SL_RUN_OPTIONS_INIT, 4, use);
  };
  check("sl_decoder_prefill", [&](const sl_run_options* options, sl_error* e) {
    return sl_decoder_prefill(decoder.get(), &tokens, options, e);
  });
  check("sl_decoder_sample", [&](const sl_run_options* options, sl_error* e) {
    return sl_decoder_sample(decoder.get(), &token, &log_prob, nullptr, options, e);
  });
  const int64_t slot = 0;
  check_input<sl_decoder_options>("sl_decoder_start_slot", value,
                                  offsetof(sl_decoder_options, stop_token),
                                  [&](const sl_decoder_options* options, sl_error* e) {
                                    return sl_decoder_start_slot(decoder.get(), slot, options, e);
                                  });
  check("sl_decoder_prefill_slot", [&](const sl_run_options* options, sl_error* e) {
    return sl_decoder_prefill_slot(decoder.get(), slot, &tokens, options, e);
  });
  check("sl_decoder_sample_slots", [&](const sl_run_options* options, sl_error* e) {
    return sl_decoder_sample_slots(decoder.get(), &slot, 1, &token, &log_prob, nullptr, options, e);
  });
  check("sl_decoder_log_prob", [&](const sl_run_options* options, sl_error* e) {
    return sl_decoder_log_prob(decoder.get(), &tokens, &log_probs, options, e);
  });
}

TEST_CASE("a pipe's options of any size", "[struct_size]") {
  const Layer layer = layer_of(kAbs);
  check_input<sl_pipe_options>(
      "sl_pipe_create", SL_PIPE_OPTIONS_INIT, 4, [&](const sl_pipe_options* options, sl_error* e) {
        sl_pipe* pipe = nullptr;
        const sl_status status = sl_pipe_create(layer.get(), options, &pipe, e);
        return freed(status, pipe, sl_pipe_free);
      });
}

TEST_CASE("allocators of any size", "[struct_size]") {
  const Layer layer = make_model(kTokens, 3);
  check_input<sl_allocator>(
      "sl_layer_create", SL_ALLOCATOR_INIT, 4, [](const sl_allocator* allocator, sl_error* e) {
        sl_layer_options options = SL_LAYER_OPTIONS_INIT;
        options.allocator = allocator;
        sl_layer* made = nullptr;
        const sl_status status =
            sl_layer_create(kAbs.data(), kAbs.size(), nullptr, &options, &made, e);
        return freed(status, made, sl_layer_free);
      });
  check_input<sl_allocator>(
      "sl_state_alloc", SL_ALLOCATOR_INIT, 4, [&](const sl_allocator* allocator, sl_error* e) {
        sl_state_options options = SL_STATE_OPTIONS_INIT;
        options.input.dtype = SL_DTYPE_INT32;
        options.allocator = allocator;
        sl_state* made = nullptr;
        const sl_status status = sl_state_alloc(layer.get(), &options, &made, e);
        return freed(status, made, sl_state_free);
      });
  check_input<sl_allocator>(
      "sl_decoder_create", SL_ALLOCATOR_INIT, 4, [&](const sl_allocator* allocator, sl_error* e) {
        sl_decoder_options options = SL_DECODER_OPTIONS_INIT;
        options.allocator = allocator;
        sl_decoder* made = nullptr;
        const sl_status status = sl_decoder_create(layer.get(), &options, &made, e);
        return freed(status, made, sl_decoder_free);
      });
  check_input<sl_allocator>(
      "sl_pipe_create", SL_ALLOCATOR_INIT, 4, [&](const sl_allocator* allocator, sl_error* e) {
        const Layer sound = layer_of(kAbs);
        sl_pipe_options options = SL_PIPE_OPTIONS_INIT;
        options.allocator = allocator;
        sl_pipe* made = nullptr;
        const sl_status status = sl_pipe_create(sound.get(), &options, &made, e);
        return freed(status, made, sl_pipe_free);
      });
}

TEST_CASE("tables of callbacks of any size", "[struct_size]") {
  sl_layer_callbacks value = SL_LAYER_CALLBACKS_INIT;
  value.create = [](void*, const char*, const sl_weight_source*, void**, sl_error*) {
    return sl_status{SL_STATUS_OK};
  };
  value.layer = [](const void*, const sl_sequence*, sl_sequence*, sl_error*) {
    return sl_status{SL_STATUS_OK};
  };
  check_input<sl_layer_callbacks>("sl_registry_add", value, offsetof(sl_layer_callbacks, step),
                                  [](const sl_layer_callbacks* callbacks, sl_error* e) {
                                    sl_registry* registry = nullptr;
                                    sl_registry_create(&registry, nullptr);
                                    const sl_status status =
                                        sl_registry_add(registry, "Mine", callbacks, e);
                                    return freed(status, registry, sl_registry_free);
                                  });
}

TEST_CASE("output structs of any size", "[struct_size]") {
  const Layer conditioned =
      layer_of(R"({"type":"Conditioning","conditioning_name":"c","projection":"identity",)"
               R"("combination":"add"})");
  check_output<sl_constant_info>("sl_layer_constant", [&](sl_constant_info* info, sl_error* e) {
    return sl_layer_constant(conditioned.get(), 0, info, e);
  });
  const Layer different =
      make_model(R"({"type":"Serial","layers":[)"
                 R"({"type":"Conv1D","filters":2,"kernel_size":3,"padding":"reverse_causal"},)"
                 R"({"type":"SequenceDense","features":2,"num_steps":64}]})",
                 2);
  REQUIRE(sl_layer_step_difference_count(different.get()) == 1);
  check_output<sl_step_difference>(
      "sl_layer_step_difference", [&](sl_step_difference* difference, sl_error* e) {
        return sl_layer_step_difference(different.get(), 0, difference, e);
      });
}

TEST_CASE("errors of any size", "[struct_size]") {
  const std::string text = "layer is null";
  for (size_t size = sizeof(uint32_t); size <= sizeof(sl_error) + 32; size += 4) {
    INFO("struct_size " << size);
    Sized<sl_error> error(SL_ERROR_INIT, size);
    int64_t steps = 0;
    CHECK(sl_layer_block_size(nullptr, &steps, error.get()) == SL_STATUS_INVALID_ARGUMENT);
    CHECK(error.is_intact());
    if (size >= 8) CHECK(error.get()->code == SL_STATUS_INVALID_ARGUMENT);
    if (size <= 8) continue;
    const size_t length = std::min(text.size(), size - 9);
    CHECK(std::memcmp(&error.byte(8), text.data(), length) == 0);
    CHECK(error.byte(8 + length) == 0);
  }
}

TEST_CASE("frozen structs have no other size", "[struct_size]") {
  const Layer layer = layer_of(kAbs);
  for (const uint32_t difference : {4u, 8u, 0u - 4u, 0u - 8u}) {
    sl_channel_spec input = SL_CHANNEL_SPEC_INIT, output = SL_CHANNEL_SPEC_INIT;
    sl_sequence x = SL_SEQUENCE_INIT, y = SL_SEQUENCE_INIT;
    x.rank = 2;
    const auto spec = [&](sl_error* e) {
      return sl_layer_output_spec(layer.get(), &input, nullptr, 0, &output, e);
    };
    const auto shape = [&](sl_error* e) {
      return sl_layer_output_shape(layer.get(), SL_MODE_LAYER, &x, nullptr, &y, e);
    };
    REQUIRE(failure_of(spec).message == "");
    REQUIRE(failure_of(shape).message == "");
    for (uint32_t* size : {&input.struct_size, &output.struct_size}) {
      const uint32_t whole = *size;
      *size += difference;
      CHECK(failure_of(spec).status == SL_STATUS_INVALID_ARGUMENT);
      CHECK_THAT(failure_of(spec).message, Contains("expected 0, or 80"));
      *size = 0;
      CHECK(failure_of(spec).message == "");
      *size = whole;
    }
    for (uint32_t* size : {&x.struct_size, &y.struct_size}) {
      const uint32_t whole = *size;
      *size += difference;
      CHECK(failure_of(shape).status == SL_STATUS_INVALID_ARGUMENT);
      CHECK_THAT(failure_of(shape).message, Contains("expected 0, or 208"));
      *size = 0;
      CHECK(failure_of(shape).message == "");
      *size = whole;
    }
  }
}

// The calls that the cases above must cover.
TEST_CASE("every call that takes a struct is in this test", "[struct_size]") {
  std::ifstream file(SL_HEADER);
  const std::string header{std::istreambuf_iterator<char>(file), {}};
  static const std::regex kCall(R"(SL_API sl_status (sl_\w+)\(([^;]*?)\);)");
  static const std::regex kStruct(
      R"(\bsl_(layer_options|run_options|state_options|decoder_options|pipe_options|layer_callbacks|)"
      R"(constant_info|step_difference)\*)");
  std::set<std::string> calls;
  for (std::sregex_iterator it(header.begin(), header.end(), kCall), end; it != end; ++it) {
    const std::string arguments = (*it)[2];
    if (std::regex_search(arguments, kStruct)) calls.insert((*it)[1]);
  }
  CHECK(calls == std::set<std::string>{"sl_calibration_create",
                                       "sl_layer_open_calibrated",
                                       "sl_decoder_create",
                                       "sl_decoder_log_prob",
                                       "sl_decoder_prefill",
                                       "sl_decoder_prefill_slot",
                                       "sl_decoder_sample",
                                       "sl_decoder_sample_slots",
                                       "sl_decoder_start_slot",
                                       "sl_layer_apply",
                                       "sl_layer_constant",
                                       "sl_layer_create",
                                       "sl_layer_emit_shape",
                                       "sl_layer_open",
                                       "sl_layer_output_shape",
                                       "sl_layer_step",
                                       "sl_layer_step_difference",
                                       "sl_layer_step_slots",
                                       "sl_pipe_create",
                                       "sl_registry_add",
                                       "sl_state_alloc",
                                       "sl_state_alloc_in",
                                       "sl_state_size"});
}

}  // namespace
}  // namespace sl::testing
