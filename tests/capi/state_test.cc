// Tests streams: create, step, reset, fork, save and load, and errors.
#include <catch2/catch.hpp>
#include <cstring>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kConfig =
    R"({"type":"Serial","layers":[{"type":"Conv1D","filters":4,"kernel_size":3,)"
    R"("padding":"causal_valid"},{"type":"LSTM","units":3}]})";

sl_state_options options_for(std::vector<int64_t> channels, int64_t batch = 1,
                             int64_t max_steps = 0) {
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = batch;
  options.max_steps = max_steps;
  options.input.rank = static_cast<int32_t>(channels.size());
  std::copy(channels.begin(), channels.end(), options.input.dims);
  return options;
}

Input random_input(int64_t batch, int64_t time, int64_t channels, uint32_t seed = 1) {
  std::mt19937 rng(seed);
  return {random_sequence(SL_DTYPE_FLOAT32, {batch, time, channels}, rng), {}};
}

std::vector<uint8_t> save(const sl_state* state) {
  std::vector<uint8_t> bytes(sl_state_save_size(state));
  check([&](sl_error* e) { return sl_state_save(state, bytes.data(), bytes.size(), e); });
  return bytes;
}

Failure load(sl_state* state, const std::vector<uint8_t>& bytes) {
  return failure_of(
      [&](sl_error* e) { return sl_state_load(state, bytes.data(), bytes.size(), e); });
}

// A stream of kConfig that has run for some steps.
struct Running {
  Running() : layer(make_model(kConfig, 4)), input(random_input(1, 8, 4)), stepper(layer, input) {
    stepper.run(0, 4);
  }
  Layer layer;
  Input input;
  Stepper stepper;
};

TEST_CASE("steps of every sample equal the layer", "[state]") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    const Layer layer = make_sample(sample);
    std::vector<int64_t> dims = {2, 12};
    dims.insert(dims.end(), sample.channels.begin(), sample.channels.end());
    std::mt19937 rng(5);
    const Input input{random_sequence(sample.dtype, dims, rng), {}};
    const Tensor want = apply(layer, input);
    const double tolerance = sample.dtype == SL_DTYPE_BFLOAT16 ? 1e-2 : 1e-5;
    const auto same =
        compare_sequences(Stepper(layer, input).run_all(), want, {tolerance, tolerance});
    CHECK(same.reason == "");
  }
}

TEST_CASE("null pointers are refused by every call on states", "[state]") {
  const Running running;
  const sl_layer* layer = running.layer.get();
  const sl_state_options options = options_for({4});
  const State owned(running.layer, options);
  sl_state* state = owned.get();
  sl_state* made = nullptr;
  size_t size = 0, alignment = 0;
  alignas(64) uint8_t memory[64];
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 4}),
         y = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 3});
  const sl_sequence in = x.view();
  sl_sequence out = y.view(), tensor = SL_SEQUENCE_INIT;
  const auto refused = [](const char* name, auto&& call) {
    const Failure failure = failure_of(call);
    INFO(name << ": " << failure.message);
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK_THAT(failure.message, Contains("is null"));
  };
#define REFUSED(...) refused(#__VA_ARGS__, [&](sl_error* e) { return __VA_ARGS__; })
  REFUSED(sl_state_alloc(nullptr, &options, &made, e));
  REFUSED(sl_state_alloc(layer, nullptr, &made, e));
  REFUSED(sl_state_alloc(layer, &options, nullptr, e));
  REFUSED(sl_state_size(nullptr, &options, &size, &alignment, e));
  REFUSED(sl_state_size(layer, nullptr, &size, &alignment, e));
  REFUSED(sl_state_size(layer, &options, nullptr, &alignment, e));
  REFUSED(sl_state_alloc_in(nullptr, &options, memory, sizeof(memory), &made, e));
  REFUSED(sl_state_alloc_in(layer, nullptr, memory, sizeof(memory), &made, e));
  REFUSED(sl_state_alloc_in(layer, &options, nullptr, sizeof(memory), &made, e));
  REFUSED(sl_state_alloc_in(layer, &options, memory, sizeof(memory), nullptr, e));
  REFUSED(sl_state_reset(nullptr, e));
  REFUSED(sl_state_copy(nullptr, state, e));
  REFUSED(sl_state_copy(state, nullptr, e));
  REFUSED(sl_state_save(nullptr, memory, sizeof(memory), e));
  REFUSED(sl_state_save(state, nullptr, 1 << 20, e));
  REFUSED(sl_state_load(nullptr, memory, sizeof(memory), e));
  REFUSED(sl_state_load(state, nullptr, sizeof(memory), e));
  REFUSED(sl_state_tensor(nullptr, 0, nullptr, &tensor, e));
  REFUSED(sl_layer_step(nullptr, state, &in, &out, nullptr, e));
  REFUSED(sl_layer_step(layer, nullptr, &in, &out, nullptr, e));
  REFUSED(sl_layer_step(layer, state, nullptr, &out, nullptr, e));
  REFUSED(sl_layer_step(layer, state, &in, nullptr, nullptr, e));
#undef REFUSED
  CHECK(made == nullptr);
  CHECK(sl_state_save_size(nullptr) == 0);
  CHECK(sl_state_tensor_count(nullptr) == 0);
}

TEST_CASE("bad options of a state", "[state]") {
  const Layer layer = make_model(kConfig, 4);
  const auto message = [&](const sl_state_options& options, sl_status expected) {
    sl_state* state = nullptr;
    const Failure failure =
        failure_of([&](sl_error* e) { return sl_state_alloc(layer.get(), &options, &state, e); });
    CHECK(failure.status == expected);
    CHECK(state == nullptr);
    size_t size = 0;
    CHECK(sl_state_size(layer.get(), &options, &size, nullptr, nullptr) == expected);
    return failure.message;
  };
  sl_state_options options = options_for({4});
  options.struct_size = 1;
  CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("options.struct_size is 1"));
  for (const int64_t batch : {int64_t{-1}, INT64_MAX}) {
    options = options_for({4}, batch);
    CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("options.batch is"));
  }
  for (const int64_t steps : {int64_t{-1}, INT64_MAX}) {
    options = options_for({4}, 1, steps);
    CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("options.max_steps is"));
  }
  CHECK_THAT(message(options_for({5}), SL_STATUS_SHAPE), Contains("its kernel expects"));
  CHECK_THAT(message(options_for({4, 1}), SL_STATUS_SHAPE), Contains("its kernel expects"));
  CHECK_THAT(message(options_for({}), SL_STATUS_SHAPE), Contains("its kernel expects"));
  options = options_for({4});
  options.input.rank = 9;
  CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("options.input.rank is 9"));
  options = options_for({4});
  options.input.dtype = 42;
  CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("unknown dtype 42"));
  options = options_for({4});
  options.num_constants = -1;
  CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("num_constants is -1"));
  options.num_constants = 1;
  CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("constants is null"));
  options.num_constants = 1000;
  CHECK_THAT(message(options, SL_STATUS_INVALID_ARGUMENT), Contains("num_constants is 1000"));
}

TEST_CASE("a layer that cannot step has no state", "[state]") {
  const Layer layer =
      make_model(R"({"type":"Conv1D","filters":2,"kernel_size":3,"padding":"same"})", 4);
  CHECK(!layer.supports_step());
  const sl_state_options options = options_for({4});
  sl_state* state = nullptr;
  const Failure failure =
      failure_of([&](sl_error* e) { return sl_state_alloc(layer.get(), &options, &state, e); });
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK_THAT(failure.message, Contains("Conv1D cannot run step-wise: padding \"same\""));
}

TEST_CASE("failed steps leave the stream unchanged", "[state]") {
  const Layer layer = make_model(
      R"({"type":"Conv1D","filters":3,"kernel_size":3,"strides":2,"padding":"causal"})", 4);
  const Input input = random_input(1, 8, 4);
  const Tensor want = Stepper(layer, input).run(0, 4);
  Stepper stepper(layer, input);
  std::vector<Tensor> got = {stepper.run(0, 2)};

  const auto message = [&](const Tensor& x, const Tensor& y, sl_status expected,
                           const sl_run_options* options = nullptr) {
    const sl_sequence in = x.view();
    sl_sequence out = y.view();
    const Failure failure =
        failure_of([&](sl_error* e) { return stepper.state().step(in, &out, options, e); });
    CHECK(failure.status == expected);
    return failure.message;
  };
  const auto sequence = [](std::vector<int64_t> dims, sl_dtype dtype = SL_DTYPE_FLOAT32) {
    return make_sequence(dtype, std::move(dims));
  };
  const Tensor x = sequence({1, 2, 4}), y = sequence({1, 1, 3});
  CHECK(message(sequence({1, 2, 5}), y, SL_STATUS_SHAPE) ==
        "x is of float32[5]: the stream was made for float32[4]");
  CHECK(message(sequence({1, 2, 4, 1}), y, SL_STATUS_SHAPE) ==
        "x is of float32[4, 1]: the stream was made for float32[4]");
  CHECK(message(sequence({1, 2, 4}, SL_DTYPE_INT32), y, SL_STATUS_SHAPE) ==
        "x is of int32[4]: the stream was made for float32[4]");
  CHECK(message(sequence({2, 2, 4}), y, SL_STATUS_SHAPE) ==
        "x is of batch 2: the stream was made for 1");
  CHECK(message(sequence({1, 1, 4}), y, SL_STATUS_SHAPE) ==
        "x has 1 steps: expected a multiple of the block size 2, at most 2");
  CHECK(message(sequence({1, 4, 4}), y, SL_STATUS_SHAPE) ==
        "x has 4 steps: expected a multiple of the block size 2, at most 2");
  CHECK(message(x, sequence({1, 2, 3}), SL_STATUS_SHAPE) ==
        "y is float32 [1, 2, 3]: expected float32 [1, 1, 3]");
  CHECK(message(x, sequence({1, 1, 4}), SL_STATUS_SHAPE) ==
        "y is float32 [1, 1, 4]: expected float32 [1, 1, 3]");
  CHECK(message(x, sequence({1, 1, 3}, SL_DTYPE_BFLOAT16), SL_STATUS_SHAPE) ==
        "y is bfloat16 [1, 1, 3]: expected float32 [1, 1, 3]");
  sl_run_options options = SL_RUN_OPTIONS_INIT;
  options.num_constants = 1;
  CHECK_THAT(message(x, y, SL_STATUS_INVALID_ARGUMENT, &options), Contains("num_constants is 1"));
  options = SL_RUN_OPTIONS_INIT;
  options.num_emits = 1;
  CHECK_THAT(message(x, y, SL_STATUS_INVALID_ARGUMENT, &options), Contains("num_emits is 1"));
  options = SL_RUN_OPTIONS_INIT;
  options.struct_size = 2;
  CHECK_THAT(message(x, y, SL_STATUS_INVALID_ARGUMENT, &options), Contains("struct_size is 2"));
  // A step on an empty sequence gives an empty sequence.
  CHECK(message(sequence({1, 0, 4}), sequence({1, 0, 3}), SL_STATUS_OK).empty());

  got.push_back(stepper.run(2, 4));
  CHECK(compare_bits(concat_time(got), want).reason == "");
}

TEST_CASE("a state can be used only with the layer that it was created for", "[state]") {
  const Running running;
  const Layer other = make_model(kConfig, 4);
  const State state(running.layer, options_for({4}));
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 4}),
         y = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 3});
  const sl_sequence in = x.view();
  sl_sequence out = y.view();
  const Failure failure = failure_of(
      [&](sl_error* e) { return sl_layer_step(other.get(), state.get(), &in, &out, nullptr, e); });
  CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
  CHECK(failure.message == "the state is of another layer");
}

TEST_CASE("calls can have any number of blocks up to the maximum", "[state]") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    const Layer layer = make_sample(sample);
    const int64_t block = layer.block_size();
    std::vector<int64_t> dims = {1, 15 * block};
    dims.insert(dims.end(), sample.channels.begin(), sample.channels.end());
    std::mt19937 rng(5);
    const Tensor x = random_sequence(sample.dtype, dims, rng);
    sl_state_options options = SL_STATE_OPTIONS_INIT;
    options.max_steps = 5 * block;
    options.input = spec_of(sample);
    const State state(layer, options), blockwise(layer, options);
    const auto run = [&](sl_state* stream, int64_t begin, int64_t end) {
      const Tensor part = slice_time(x, begin * block, end * block);
      const sl_sequence in = part.view();
      sl_sequence out = SL_SEQUENCE_INIT;
      check([&](sl_error* e) {
        return sl_layer_output_shape(layer.get(), SL_MODE_STEP, &in, nullptr, &out, e);
      });
      Tensor y = make_like(out);
      out = y.view();
      check([&](sl_error* e) { return sl_layer_step(layer.get(), stream, &in, &out, nullptr, e); });
      return y;
    };
    std::vector<Tensor> uneven, even;
    for (const int64_t begin : {0, 1, 3, 6, 10}) {
      const int64_t end = begin == 0 ? 1 : begin == 1 ? 3 : begin == 3 ? 6 : begin == 6 ? 10 : 15;
      uneven.push_back(run(state.get(), begin, end));
    }
    for (int64_t i = 0; i < 15; ++i) even.push_back(run(blockwise.get(), i, i + 1));
    const double tolerance = sample.dtype == SL_DTYPE_BFLOAT16 ? 1e-2 : 1e-5;
    CHECK(
        compare_sequences(concat_time(uneven), concat_time(even), {tolerance, tolerance}).reason ==
        "");
  }
}

TEST_CASE("states in the caller's memory", "[state]") {
  const Layer layer = make_model(kConfig, 4);
  const sl_state_options options = options_for({4});
  size_t size = 0, alignment = 0;
  REQUIRE(sl_state_size(layer.get(), &options, &size, &alignment, nullptr) == SL_STATUS_OK);
  CHECK(size > 0);
  REQUIRE((alignment > 0 && (alignment & (alignment - 1)) == 0));
  CHECK(sl_state_size(layer.get(), &options, &size, nullptr, nullptr) == SL_STATUS_OK);

  constexpr size_t kGuard = 64;
  std::vector<uint8_t> storage(size + alignment + kGuard, 0x5a);
  const auto address = reinterpret_cast<uintptr_t>(storage.data());
  uint8_t* memory = storage.data() + (alignment - address % alignment) % alignment;
  sl_state* state = nullptr;
  const auto init = [&](void* at, size_t bytes) {
    return failure_of([&](sl_error* e) {
      return sl_state_alloc_in(layer.get(), &options, at, bytes, &state, e);
    });
  };
  CHECK(init(memory, size - 1).status == SL_STATUS_INVALID_ARGUMENT);
  CHECK_THAT(init(memory, size - 1).message, Contains("expected " + std::to_string(size)));
  CHECK(init(memory, 0).status == SL_STATUS_INVALID_ARGUMENT);
  CHECK(init(memory + 1, size + 63).status == SL_STATUS_INVALID_ARGUMENT);
  CHECK_THAT(init(memory + 1, size + 63).message, Contains("aligned to"));
  CHECK(state == nullptr);

  REQUIRE(init(memory, size).status == SL_STATUS_OK);
  const sequence_layers::Handle<sl_state> owner(state);
  const Input input = random_input(1, 6, 4);
  const Tensor want = Stepper(layer, input).run(0, 6);
  std::vector<Tensor> got;
  for (int64_t t = 0; t < 6; ++t) {
    const Tensor x = slice_time(input.x, t, t + 1);
    Tensor y = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 3});
    const sl_sequence in = x.view();
    sl_sequence out = y.view();
    REQUIRE(sl_layer_step(layer.get(), state, &in, &out, nullptr, nullptr) == SL_STATUS_OK);
    got.push_back(y);
  }
  CHECK(compare_bits(concat_time(got), want).reason == "");
  CHECK(std::all_of(memory + size, memory + size + kGuard, [](uint8_t b) { return b == 0x5a; }));
}

TEST_CASE("copies continue from their source's position", "[state]") {
  Running running;
  Stepper fork(running.layer, running.input);
  fork.copy_from(running.stepper);
  const Tensor want = running.stepper.run(4, 8);
  CHECK(compare_bits(fork.run(4, 8), want).reason == "");

  const auto copy_to = [&](const State& target) {
    const Failure failure = failure_of(
        [&](sl_error* e) { return sl_state_copy(target.get(), running.stepper.state().get(), e); });
    CHECK(failure.status == SL_STATUS_STATE);
    return failure.message;
  };
  CHECK(copy_to(State(running.layer, options_for({4}, 2))) ==
        "the source is of a stream of other options: batch is 1, not 2");
  // A difference in max_steps alone is none, and is not named beside others.
  sl_state_options ending = options_for({4}, 1, 7);
  ending.max_length = 70;
  CHECK(copy_to(State(running.layer, ending)) ==
        "the source is of a stream of other options: max_length is 0, not 70");
  const Layer other = make_model(R"({"type":"LSTM","units":3})", 4);
  CHECK(copy_to(State(other, options_for({4}))) == "the states are of different models");
}

TEST_CASE("a copy between streams of other constants names the constant", "[state]") {
  const Layer layer = make_model(R"({"type":"Relu"})");
  const auto with_constant = [&](int64_t time, int64_t max_steps) {
    sl_state_options options = options_for({4}, 1, max_steps);
    sl_constant constant = {"two words", SL_SEQUENCE_INIT};
    constant.value.rank = 3;
    constant.value.dims[0] = 1;
    constant.value.dims[1] = time;
    constant.value.dims[2] = 2;
    options.constants = &constant;
    options.num_constants = 1;
    return State(layer, options);
  };
  const auto copy = [](const State& target, const State& source) {
    return failure_of([&](sl_error* e) { return sl_state_copy(target.get(), source.get(), e); })
        .message;
  };
  const std::string start = "the source is of a stream of other options: constant \"two words\" ";
  CHECK(copy(with_constant(3, 1), with_constant(3, 9)) == "");
  CHECK(copy(with_constant(3, 1), with_constant(5, 9)) ==
        start + "is float32 [1, 5, 2], not float32 [1, 3, 2]");
  CHECK(copy(with_constant(3, 1), State(layer, options_for({4}))) ==
        start + "is none, not float32 [1, 3, 2]");
  CHECK(copy(State(layer, options_for({4})), with_constant(3, 1)) ==
        start + "is float32 [1, 3, 2], not none");
}

// Longer than what the library processes in one part, with batch items whose steps are not adjacent
// in memory.
TEST_CASE("a long prefix of a batch can be continued in steps", "[state]") {
  const Layer layer = make_model(kConfig, 4);
  const Input input = random_input(2, 2600, 4);
  Stepper steps(layer, input), stepper(layer, input);
  const Tolerance tolerance{1e-5, 1e-5};
  const Tensor want = steps.run(0, 2500);
  CHECK(compare_sequences(stepper.prefill(2500), want, tolerance).reason == "");
  const Tensor rest = steps.run(2500, 2600);
  CHECK(compare_sequences(stepper.run(2500, 2600), rest, tolerance).reason == "");
}

TEST_CASE("saving into a buffer that is too small is an error", "[state]") {
  Running running;
  const size_t size = sl_state_save_size(running.stepper.state().get());
  std::vector<uint8_t> buffer(size + 8, 0x5a);
  const auto save_into = [&](size_t bytes) {
    return sl_state_save(running.stepper.state().get(), buffer.data(), bytes, nullptr);
  };
  CHECK(save_into(size - 1) == SL_STATUS_INVALID_ARGUMENT);
  CHECK(save_into(0) == SL_STATUS_INVALID_ARGUMENT);
  CHECK(save_into(size + 8) == SL_STATUS_OK);
  CHECK(std::all_of(buffer.begin() + static_cast<int64_t>(size), buffer.end(),
                    [](uint8_t b) { return b == 0x5a; }));
}

TEST_CASE("bytes that are not a saved state of such a stream are refused", "[state]") {
  Running running;
  sl_state* state = running.stepper.state().get();
  const std::vector<uint8_t> good = save(state);
  CHECK(load(state, good).status == SL_STATUS_OK);
  const std::vector<uint8_t> before = save(state);

  SECTION("cut, at any length") {
    for (size_t size = 0; size < good.size(); ++size) {
      const std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<int64_t>(size));
      CHECK(sl_state_load(state, good.data(), size, nullptr) == SL_STATUS_STATE);
    }
    std::vector<uint8_t> longer = good;
    longer.push_back(0);
    CHECK(load(state, longer).status == SL_STATUS_STATE);
  }
  SECTION("with any bit flipped") {
    for (size_t i = 0; i < good.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::vector<uint8_t> flipped = good;
        flipped[i] = static_cast<uint8_t>(flipped[i] ^ (1 << bit));
        INFO("byte " << i << " bit " << bit);
        // Only failures are reported, as there are thousands of cases.
        if (load(state, flipped).status != SL_STATUS_STATE) FAIL_CHECK("it was loaded");
      }
    }
  }
  SECTION("of another version") {
    std::vector<uint8_t> later = good;
    later[8] = 2;
    CHECK(load(state, later).message == "a saved state of version 2: expected version 1");
  }
  SECTION("of another model") {
    const Layer other =
        make_model(R"({"type":"Serial","layers":[{"type":"Conv1D","filters":4,"kernel_size":3,)"
                   R"("padding":"causal_valid"},{"type":"LSTM","units":3},{"type":"Relu"}]})",
                   4);
    CHECK_THAT(load(state, save(State(other, options_for({4})).get())).message,
               Contains("another model"));
  }
  SECTION("of other weights") {
    std::mt19937 rng(99);
    const Weights weights = make_weights(kConfig, {{"", {4, {}, {}}}}, rng);
    const Layer other(kConfig, weights);
    CHECK_THAT(load(state, save(State(other, options_for({4})).get())).message,
               Contains("another model"));
  }
  SECTION("of other options") {
    const auto message = [&](const sl_state_options& options) {
      return load(state, save(State(running.layer, options).get())).message;
    };
    const std::string start = "the saved state is of a stream of other options: ";
    CHECK(message(options_for({4}, 2)) == start + "batch is 2, not 1");
    CHECK(message(options_for({4}, 1, 2)) == start + "max_steps is 2, not 1");
    sl_state_options ending = options_for({4}, 3);
    ending.max_length = 50;
    CHECK(message(ending) == start + "batch is 3, not 1, max_length is 50, not 0");
  }
  CHECK(save(state) == before);
  const Tensor want = Stepper(running.layer, running.input).run(0, 8);
  CHECK(compare_bits(running.stepper.run(4, 8), slice_time(want, 4, 8)).reason == "");
}

TEST_CASE("a saved state continues in another layer of the same model", "[state]") {
  Running running;
  const std::vector<uint8_t> bytes = save(running.stepper.state().get());
  const Tensor want = running.stepper.run(4, 8);
  // A second layer of the same model, as another process would create.
  const Layer again = make_model(kConfig, 4);
  Stepper stepper(again, running.input);
  stepper.load(bytes);
  CHECK(compare_bits(stepper.run(4, 8), want).reason == "");
}

TEST_CASE("reset returns to the start of the stream", "[state]") {
  Running running;
  const Tensor want = Stepper(running.layer, running.input).run(0, 8);
  running.stepper.reset();
  CHECK(compare_bits(running.stepper.run(0, 8), want).reason == "");
}

TEST_CASE("tensors of a state", "[state]") {
  Running running;
  const sl_state* state = running.stepper.state().get();
  const int64_t count = sl_state_tensor_count(state);
  REQUIRE(count > 0);
  bool lstm = false;
  for (int64_t i = 0; i < count; ++i) {
    const char* name = nullptr;
    sl_sequence tensor = SL_SEQUENCE_INIT;
    REQUIRE(sl_state_tensor(state, i, &name, &tensor, nullptr) == SL_STATUS_OK);
    CHECK(tensor.is_array == 1);
    CHECK(tensor.data != nullptr);
    lstm = lstm || std::string(name).find("layers_1") != std::string::npos;
  }
  CHECK(lstm);
  CHECK(sl_state_tensor(state, 0, nullptr, nullptr, nullptr) == SL_STATUS_OK);
  sl_sequence tensor = SL_SEQUENCE_INIT;
  for (const int64_t i : {int64_t{-1}, count}) {
    CHECK(sl_state_tensor(state, i, nullptr, &tensor, nullptr) == SL_STATUS_INVALID_ARGUMENT);
  }
}

TEST_CASE("many states from one layer do not disturb each other", "[state]") {
  const Layer layer = make_model(kConfig, 4);
  std::vector<std::unique_ptr<Stepper>> streams;
  std::vector<Tensor> wanted;
  for (uint32_t i = 0; i < 5; ++i) {
    const Input input = random_input(1, 8, 4, i);
    wanted.push_back(Stepper(layer, input).run(0, 8));
    streams.push_back(std::make_unique<Stepper>(layer, input));
  }
  for (int64_t t = 0; t < 8; ++t) {
    for (size_t i = 0; i < streams.size(); ++i) {
      CHECK(compare_bits(streams[i]->run(t, t + 1), slice_time(wanted[i], t, t + 1)).reason == "");
    }
  }
}

// Sets the int32 state tensor of that name in the saved bytes, and corrects the checksum.
std::vector<uint8_t> forge(sl_state* state, const std::string& name, int32_t value) {
  for (int64_t i = 0; i < sl_state_tensor_count(state); ++i) {
    const char* found = nullptr;
    sl_sequence tensor = SL_SEQUENCE_INIT;
    check([&](sl_error* e) { return sl_state_tensor(state, i, &found, &tensor, e); });
    if (name == found) std::memcpy(tensor.data, &value, sizeof(value));
  }
  return save(state);
}

TEST_CASE("a saved state with indices outside its memory is refused", "[state]") {
  const Layer layer = make_model(
      R"({"type":"Serial","layers":[{"type":"Conv1D","filters":4,"kernel_size":3,)"
      R"("padding":"causal"},{"type":"Delay","length":3},{"type":"Lookahead","length":2},)"
      R"({"type":"Frame","frame_length":4,"frame_step":2,"padding":"causal"},)"
      R"({"type":"OverlapAdd","frame_length":4,"frame_step":2,"padding":"causal"}]})",
      4);
  const State victim(layer, options_for({4}));
  struct Forgery {
    const char* name;
    int32_t value;
  };
  for (const Forgery& forgery :
       {Forgery{"layers_0.cursor", -1}, Forgery{"layers_0.cursor", 4},
        Forgery{"layers_1.position", 3}, Forgery{"layers_1.position", -1000000},
        Forgery{"layers_2.dropped", 3}, Forgery{"layers_4.position", 4}}) {
    INFO(forgery.name << " = " << forgery.value);
    const State forged(layer, options_for({4}));
    CHECK(load(victim.get(), save(forged.get())).status == SL_STATUS_OK);
    const Failure failure = load(victim.get(), forge(forged.get(), forgery.name, forgery.value));
    CHECK(failure.status == SL_STATUS_STATE);
    CHECK_THAT(failure.message, Contains(forgery.name));
  }
}

TEST_CASE("items of a batch are reset and moved between states of any batch", "[state]") {
  const Layer layer =
      make_model(R"({"type":"Conv1D","filters":4,"kernel_size":3,"padding":"causal"})", 4);
  sl_state_options options = options_for({4});
  const State alone(layer, options);
  options.batch = 3;
  options.max_steps = 5;
  const State batch(layer, options);
  const auto step = [](const sl_layer* model, sl_state* state, const std::vector<float>& x,
                       std::vector<float>* y) {
    Tensor in = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 4}), out = in;
    std::memcpy(in.bytes.data(), x.data(), in.bytes.size());
    const sl_sequence given = in.view();
    sl_sequence made = out.view();
    check([&](sl_error* e) { return sl_layer_step(model, state, &given, &made, nullptr, e); });
    std::memcpy(y->data(), out.bytes.data(), out.bytes.size());
  };
  // A stream joins the batch, and leaves it again for a state of batch 1, which is saved.
  const std::vector<float> x = {1, 2, 3, 4};
  std::vector<float> y(4);
  step(layer.get(), alone.get(), x, &y);
  const std::vector<uint8_t> want = save(alone.get());
  CHECK(sl_state_copy_item(batch.get(), 2, alone.get(), 0, nullptr) == SL_STATUS_OK);
  CHECK(sl_state_reset(alone.get(), nullptr) == SL_STATUS_OK);
  CHECK(save(alone.get()) != want);
  CHECK(sl_state_copy_item(alone.get(), 0, batch.get(), 2, nullptr) == SL_STATUS_OK);
  std::vector<float> again(4);
  step(layer.get(), alone.get(), x, &y);
  const State fresh(layer, options_for({4}));
  step(layer.get(), fresh.get(), x, &again);
  step(layer.get(), fresh.get(), x, &again);
  CHECK(y == again);
  CHECK(sl_state_reset_item(alone.get(), 0, nullptr) == SL_STATUS_OK);
  step(layer.get(), alone.get(), x, &y);
  CHECK(sl_state_reset(fresh.get(), nullptr) == SL_STATUS_OK);
  step(layer.get(), fresh.get(), x, &again);
  CHECK(y == again);

  // Items that do not exist, and a state of another model, are refused.
  sl_state *into = batch.get(), *from = alone.get();
  const auto message = [](auto&& call) {
    const Failure failure = failure_of(call);
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    return failure.message;
  };
  CHECK(message([](sl_error* e) { return sl_state_reset_item(nullptr, 0, e); }) == "state is null");
  CHECK(message([&](sl_error* e) { return sl_state_reset_item(into, 3, e); }) ==
        "item is 3: expected 0 to 2, as the batch is 3");
  CHECK_THAT(message([&](sl_error* e) { return sl_state_reset_item(into, -1, e); }),
             Contains("item is -1"));
  CHECK_THAT(message([&](sl_error* e) { return sl_state_copy_item(into, 3, from, 0, e); }),
             Contains("target_item is 3"));
  CHECK_THAT(message([&](sl_error* e) { return sl_state_copy_item(into, 0, from, 1, e); }),
             Contains("source_item is 1"));
  const Layer other =
      make_model(R"({"type":"Conv1D","filters":4,"kernel_size":4,"padding":"causal"})", 4);
  State stranger(other, options_for({4}));
  CHECK(sl_state_copy_item(batch.get(), 0, stranger.get(), 0, nullptr) == SL_STATUS_STATE);
}

}  // namespace
}  // namespace sl::testing
