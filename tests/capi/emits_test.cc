// Tests auxiliary outputs (emits) and constants.
#include <catch2/catch.hpp>
#include <cstring>

#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

// A model with two emits: |x| under the layer's name, and its half-rate convolution under another
// name.
constexpr const char* kConfig =
    R"({"type":"Serial","layers":[{"type":"Abs"},{"type":"Emit","name":"loud"},)"
    R"({"type":"Conv1D","filters":2,"kernel_size":2,"strides":2,"padding":"causal_valid"},)"
    R"({"type":"NamedEmit","name":"tap","emit_name":"half"},{"type":"Relu"}]})";

struct Model {
  Model() : layer(make_model(kConfig, 3)) {
    std::mt19937 rng(2);
    input.x = random_sequence(SL_DTYPE_FLOAT32, {2, 8, 3}, rng);
  }
  Layer layer;
  Input input;
};

TEST_CASE("emits have paths and shapes", "[emits]") {
  const Model model;
  const auto emits = make_emits(model.layer, SL_MODE_LAYER, model.input.x, {});
  REQUIRE(emits.size() == 2);
  CHECK(emits[0].name == "loud");
  CHECK(emits[0].value.dims == std::vector<int64_t>{2, 8, 3});
  CHECK(emits[1].name == "tap.half");
  CHECK(emits[1].value.dims == std::vector<int64_t>{2, 4, 2});

  const sl_sequence x = model.input.x.view();
  sl_sequence shape = SL_SEQUENCE_INIT;
  for (const int64_t index : {-1, 2}) {
    const Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_emit_shape(model.layer.get(), SL_MODE_LAYER, &x, nullptr, index, nullptr, 0,
                                 &shape, e);
    });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK(failure.message == "emit " + std::to_string(index) + " of 2");
  }
  char path[4] = "zzz";  // a path is truncated to the buffer
  CHECK(sl_layer_emit_shape(model.layer.get(), SL_MODE_LAYER, &x, nullptr, 0, path, 3, &shape,
                            nullptr) == SL_STATUS_OK);
  CHECK(std::string(path) == "lo");
}

TEST_CASE("the size of an emit's path can be asked for", "[emits]") {
  const std::string name(300, 'n');
  const Layer layer = make_model(
      R"({"type":"Serial","layers":[{"type":"Emit","name":"loud"},{"type":"Serial","name":")" +
      name + R"(","layers":[{"type":"Emit","name":"deep"}]}]})");
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  const std::string paths[] = {"loud", name + ".deep"};
  for (int64_t i = 0; i < 2; ++i) {
    const std::string& path = paths[i];
    size_t needed = 0;
    const auto read = [&](char* buffer, size_t capacity, size_t* size) {
      return sl_layer_emit_path(layer.get(), &spec, nullptr, 0, i, buffer, capacity, size, nullptr);
    };
    CHECK(read(nullptr, 0, &needed) == SL_STATUS_OK);
    CHECK(needed == path.size() + 1);
    std::vector<char> buffer(needed + 1, 'z');
    CHECK(read(buffer.data(), needed, nullptr) == SL_STATUS_OK);
    CHECK(std::string(buffer.data()) == path);
    CHECK(buffer[needed] == 'z');
    CHECK(read(buffer.data(), 3, &needed) == SL_STATUS_OK);
    CHECK(std::string(buffer.data()) == path.substr(0, 2));
    CHECK(needed == path.size() + 1);
  }
  for (const int64_t index : {-1, 2}) {
    const Failure failure = failure_of([&](sl_error* e) {
      return sl_layer_emit_path(layer.get(), &spec, nullptr, 0, index, nullptr, 0, nullptr, e);
    });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK(failure.message == "emit " + std::to_string(index) + " of 2");
  }
}

TEST_CASE("layer-wise and step-wise emits are the same", "[emits]") {
  const Model model;
  std::vector<NamedTensor> emits;
  const Tensor y = apply(model.layer, model.input, &emits);
  CHECK(compare_bits(apply(model.layer, model.input), y).reason == "");
  for (int64_t i = 0; i < model.input.x.size(); ++i) {
    CHECK(emits[0].value.at(i) == std::abs(model.input.x.at(i)));
  }
  for (const int64_t blocks : {1, 2}) {
    Stepper::Options options;
    options.blocks_per_step = blocks;
    options.with_emits = true;
    Stepper stepper(model.layer, model.input, options);
    CHECK(compare_sequences(stepper.run_all(), y, {}).reason == "");
    CHECK(stepper.allocations() == 0);
    REQUIRE(stepper.emits().size() == 2);
    for (size_t i = 0; i < 2; ++i) {
      CHECK(compare_sequences(stepper.emits()[i].value, emits[i].value, {}).reason == "");
    }
  }
}

// A layer-wise run on a stream can be longer than what the library processes in one part.
TEST_CASE("a layer-wise run on a stream emits what its steps would emit", "[emits]") {
  const Model model;
  std::mt19937 rng(3);
  const Input input{random_sequence(SL_DTYPE_FLOAT32, {2, 2200, 3}, rng), {}};
  Stepper::Options options;
  options.with_emits = true;
  Stepper steps(model.layer, input, options), whole(model.layer, input);
  const Tensor want = steps.run(0, 1100);
  std::vector<NamedTensor> emits;
  CHECK(compare_sequences(whole.prefill(1100, &emits), want, {}).reason == "");
  REQUIRE(emits.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(compare_sequences(emits[i].value, steps.emits()[i].value, {}).reason == "");
  }
}

TEST_CASE("emits that the caller does not request are not written", "[emits]") {
  const Model model;
  std::vector<NamedTensor> wanted;
  const Tensor want = apply(model.layer, model.input, &wanted);
  Tensor y = want, tap = wanted[1].value;
  std::fill(tap.bytes.begin(), tap.bytes.end(), uint8_t{0x5a});
  const sl_sequence in = model.input.x.view();
  sl_sequence out = y.view();
  sl_sequence emits[2] = {SL_SEQUENCE_INIT, tap.view()};
  emits[1].mask = nullptr;
  sl_run_options options = SL_RUN_OPTIONS_INIT;
  options.emits = emits;
  options.num_emits = 2;
  CHECK(sl_layer_apply(model.layer.get(), &in, &out, &options, nullptr) == SL_STATUS_OK);
  CHECK(tap.bytes == wanted[1].value.bytes);
}

TEST_CASE("emits of a wrong shape, layout or number are errors", "[emits]") {
  const Model model;
  Tensor loud = make_sequence(SL_DTYPE_FLOAT32, {2, 8, 3}),
         tap = make_sequence(SL_DTYPE_FLOAT32, {2, 4, 2});
  Tensor y = tap;
  const sl_sequence in = model.input.x.view();
  const auto message = [&](const std::vector<sl_sequence>& given, sl_status expected) {
    std::vector<sl_sequence> emits = given;
    sl_sequence out = y.view();
    sl_run_options options = SL_RUN_OPTIONS_INIT;
    options.emits = emits.data();
    options.num_emits = static_cast<int64_t>(emits.size());
    const Failure failure = failure_of(
        [&](sl_error* e) { return sl_layer_apply(model.layer.get(), &in, &out, &options, e); });
    CHECK(failure.status == expected);
    return failure.message;
  };
  CHECK(message({loud.view(), tap.view()}, SL_STATUS_OK) == "");
  CHECK(message({loud.view()}, SL_STATUS_INVALID_ARGUMENT) == "num_emits is 1: the model has 2");
  CHECK(message({tap.view(), loud.view()}, SL_STATUS_SHAPE) ==
        "loud is float32 [2, 4, 2]: expected float32 [2, 8, 3]");
  sl_sequence strided = loud.view();
  strided.strides[0] = 12;
  strided.strides[1] = 24;
  strided.strides[2] = 4;
  CHECK(message({strided, tap.view()}, SL_STATUS_INVALID_ARGUMENT) ==
        "emit \"loud\" is not contiguous");
  sl_run_options negative = SL_RUN_OPTIONS_INIT;
  negative.num_emits = -1;
  sl_sequence out = y.view();
  CHECK(sl_layer_apply(model.layer.get(), &in, &out, &negative, nullptr) ==
        SL_STATUS_INVALID_ARGUMENT);
}

TEST_CASE("constants that a model does not read are no error", "[constants]") {
  const Model model;
  Input input = model.input;
  std::mt19937 rng(4);
  input.constants.push_back({"source", random_sequence(SL_DTYPE_FLOAT32, {2, 5, 2}, rng)});
  const Tensor want = apply(model.layer, model.input);
  CHECK(compare_bits(apply(model.layer, input), want).reason == "");
  Stepper stepper(model.layer, input);
  CHECK(compare_sequences(stepper.run_all(), want, {}).reason == "");
  CHECK(stepper.allocations() == 0);
}

TEST_CASE("a step must have constants of the shapes that its stream was created with",
          "[constants]") {
  const Layer layer = make_model(R"({"type":"Relu"})");
  Tensor source = make_sequence(SL_DTYPE_FLOAT32, {1, 5, 2});
  const Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 3});
  Tensor y = x;
  sl_constant constant = {"source", source.view()};
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.input = channel_spec(x);
  options.constants = &constant;
  options.num_constants = 1;
  const State state(layer, options);
  const auto step = [&](const sl_constant* constants, int64_t count) {
    sl_run_options run = SL_RUN_OPTIONS_INIT;
    run.constants = constants;
    run.num_constants = count;
    const sl_sequence in = x.view();
    sl_sequence out = y.view();
    return failure_of(
        [&](sl_error* e) { return sl_layer_step(layer.get(), state.get(), &in, &out, &run, e); });
  };
  CHECK(step(&constant, 1).status == SL_STATUS_OK);
  CHECK(step(nullptr, 0).message == "num_constants is 0: the stream was made for 1");
  CHECK_THAT(step(nullptr, 1).message, Contains("constants is null"));
  CHECK_THAT(step(&constant, -1).message, Contains("num_constants is -1"));
  sl_constant other = constant;
  other.name = "target";
  CHECK(step(&other, 1).message == "constant 0 is \"target\": expected \"source\"");
  other.name = nullptr;
  CHECK_THAT(step(&other, 1).message, Contains("constant.name is null"));
  other = constant;
  other.value.dims[1] = 6;
  CHECK(step(&other, 1).message ==
        "constant \"source\" is float32 [1, 6, 2]: the stream was made for float32 [1, 5, 2]");
  other.value.dims[1] = 3;
  CHECK(step(&other, 1).status == SL_STATUS_SHAPE);
  other = constant;
  other.value.dtype = SL_DTYPE_INT32;
  CHECK(step(&other, 1).status == SL_STATUS_SHAPE);
  other = constant;
  other.value.data = nullptr;
  CHECK(step(&other, 1).status == SL_STATUS_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace sl::testing
