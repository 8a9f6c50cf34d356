// Tests what a model reports about its constants, and how it uses those that it is given.
#include <catch2/catch.hpp>
#include <cstring>

#include "sequence_layers/sequence_layers.hpp"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

std::string conditioning(const std::string& fields) {
  return R"({"type":"Conditioning","conditioning_name":"c",)" + fields + "}";
}

const std::string kAdd = R"("projection":"identity","combination":"add")";

std::string serial(const std::string& layers) {
  return R"({"type":"Serial","layers":[)" + layers + "]}";
}

// y = x + c: with the whole constant c, and with c streamed.
const std::string kWhole = conditioning(kAdd + R"(,"name":"whole")");
const std::string kStreamed = conditioning(kAdd + R"(,"streaming":true,"name":"streamed")");
// Projects a constant with channels [2] to channels [3].
const std::string kProjected =
    conditioning(R"("projection":"linear","combination":"add","projection_channel_shape":[3],)"
                 R"("name":"projected")");

Layer make_projected(const std::string& config) {
  std::mt19937 rng(1);
  Weights weights;
  const auto add = [&](const char* name, std::vector<int64_t> dims) {
    Tensor tensor = random_sequence(SL_DTYPE_FLOAT32, {1, 1, 2, 3}, rng);
    tensor.is_array = true;
    tensor.mask.clear();
    tensor.dims = std::move(dims);
    const sl_sequence view = tensor.view();
    check([&](sl_error* e) { return sl_weights_add(weights.get(), name, &view, e); });
  };
  add("params.inner.projected.dense.kernel", {2, 3});
  add("params.inner.projected.dense.bias", {3});
  return Layer(config, weights);
}

std::string inner(const std::string& layer) {
  return serial(R"({"type":"Serial","name":"inner","layers":[)" + layer + "]}");
}

Tensor ramp(std::vector<int64_t> dims, double scale) {
  Tensor x = make_sequence(SL_DTYPE_FLOAT32, std::move(dims));
  for (int64_t i = 0; i < x.size(); ++i) x.set(i, scale * static_cast<double>(i + 1));
  return x;
}

Tensor as_array(Tensor x) {
  x.is_array = true;
  x.mask.clear();
  return x;
}

Failure apply_failure(const sl_layer* layer, const Tensor& x, const Constants& constants) {
  const std::vector<sl_constant> given = views(constants);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = given.data();
  run.num_constants = static_cast<int64_t>(given.size());
  Tensor y = x;
  const sl_sequence in = x.view();
  sl_sequence out = y.view();
  return failure_of([&](sl_error* e) { return sl_layer_apply(layer, &in, &out, &run, e); });
}

Failure alloc_failure(const sl_layer* layer, const Tensor& x, int64_t max_steps,
                      const Constants& constants) {
  const std::vector<sl_constant> given = views(constants);
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.batch = x.batch();
  options.max_steps = max_steps;
  options.input = channel_spec(x);
  options.constants = given.data();
  options.num_constants = static_cast<int64_t>(given.size());
  return failure_of([&](sl_error* e) {
    sl_state* state = nullptr;
    const sl_status status = sl_state_alloc(layer, &options, &state, e);
    sl_state_free(state);
    return status;
  });
}

TEST_CASE("a model lists its constants", "[constants]") {
  const Layer layer = make_projected(inner(kProjected + "," + kWhole));
  REQUIRE(sl_layer_constant_count(layer.get()) == 1);  // two layers read the same constant
  sl_constant_info info = SL_CONSTANT_INFO_INIT;
  REQUIRE(sl_layer_constant(layer.get(), 0, &info, nullptr) == SL_STATUS_OK);
  CHECK(std::string(info.name) == "c");
  CHECK(std::string(info.layer) == "inner.projected");
  CHECK(info.kind == SL_CONSTANT_KIND_ANY);
  CHECK(info.required == 1);
  CHECK(info.streamed == 0);
  CHECK(info.dtype == -1);
  REQUIRE(info.rank == 1);
  CHECK(info.dims[0] == 2);

  CHECK(sl_layer_constant_count(nullptr) == 0);
  for (const int64_t index : {-1, 1}) {
    const Failure failure =
        failure_of([&](sl_error* e) { return sl_layer_constant(layer.get(), index, &info, e); });
    CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
    CHECK(failure.message == "constant " + std::to_string(index) + " of 1");
  }
  // Only the part of the struct that struct_size covers is written.
  sl_constant_info old;
  std::memset(&old, 0x5a, sizeof(old));
  old.struct_size = offsetof(sl_constant_info, required);
  REQUIRE(sl_layer_constant(layer.get(), 0, &old, nullptr) == SL_STATUS_OK);
  CHECK(std::string(old.name) == "c");
  CHECK(old.required == 0x5a5a5a5a);
  CHECK(old.struct_size == offsetof(sl_constant_info, required));
  old.struct_size = 1;
  CHECK(sl_layer_constant(layer.get(), 0, &old, nullptr) == SL_STATUS_INVALID_ARGUMENT);
}

TEST_CASE("the C++ wrapper lists constants too", "[constants]") {
  const sequence_layers::Layer layer(kStreamed, sequence_layers::Weights());
  const auto constants = layer.constants();
  REQUIRE(constants.size() == 1);
  CHECK(std::string(constants[0].name) == "c");
  CHECK(constants[0].streamed == 1);
  CHECK(constants[0].rank == -1);
  const Tensor c = ramp({1, 1, 4, 3}, 1);
  const sl_channel_spec out =
      layer.output_spec(channel_spec(ramp({1, 1, 3}, 1)), {{"c", c.view()}});
  CHECK(out.rank == 2);
  CHECK(out.dims[0] == 4);
}

TEST_CASE("errors about constants name the constant and the layer", "[constants]") {
  const Layer layer = make_projected(inner(kProjected));
  const Tensor x = ramp({2, 4, 3}, 1), c = ramp({2, 4, 2}, 1);
  const auto refused = [&](const Constants& constants, sl_status status,
                           const std::string& message) {
    for (const Failure& failure :
         {apply_failure(layer.get(), x, constants), alloc_failure(layer.get(), x, 4, constants)}) {
      CHECK(failure.status == status);
      CHECK(failure.message == message);
    }
  };
  refused({}, SL_STATUS_INVALID_ARGUMENT,
          "constant \"c\" is missing: Conditioning \"inner.projected\" reads it");
  refused({{"C", c}}, SL_STATUS_INVALID_ARGUMENT,
          "constant \"c\" is missing: Conditioning \"inner.projected\" reads it; \"C\" was given");
  refused({{"c", c}, {"c", c}}, SL_STATUS_INVALID_ARGUMENT, "constant \"c\" is given twice");
  const std::string expects = "Conditioning \"inner.projected\" expects ";
  refused({{"c", ramp({2, 4, 5}, 1)}}, SL_STATUS_SHAPE,
          "constant \"c\" has channels of [5]: " + expects + "[2]");
  refused({{"c", ramp({3, 4, 2}, 1)}}, SL_STATUS_SHAPE,
          "constant \"c\" has a batch of 3: " + expects + "2 or 1");
  refused({{"c", as_array(ramp({2, 5}, 1))}}, SL_STATUS_SHAPE,
          "constant \"c\" has items of [5]: " + expects + "[2]");
  Tensor scalar = as_array(ramp({1, 1}, 1));
  scalar.dims.clear();
  refused({{"c", scalar}}, SL_STATUS_SHAPE,
          "constant \"c\" is an array of rank 0: " + expects + "the batch as its first axis");

  CHECK_THAT(apply_failure(layer.get(), x, {{"c", ramp({2, 3, 2}, 1)}}).message,
             Contains("constant \"c\" has 3 steps: expected 4, as x has"));
}

TEST_CASE("constants come as sequences and as arrays, whole and streamed", "[constants]") {
  std::mt19937 rng(3);
  for (const std::string& config : {kWhole, kStreamed}) {
    const Layer layer = make_model(config);
    for (const bool array : {false, true}) {
      Input input;
      input.x = random_sequence(SL_DTYPE_FLOAT32, {2, 9, 3}, rng);
      const Tensor c = random_sequence(SL_DTYPE_FLOAT32, {2, 9, 3}, rng);
      input.constants = {{"c", array ? as_array(slice_time(c, 0, 1)) : c}};
      if (array) input.constants[0].value.dims = {2, 3};
      const Tensor y = apply(layer, input);
      for (int64_t b = 0; b < 2; ++b) {
        for (int64_t t = 0; t < 9; ++t) {
          const int64_t i = 3 * (9 * b + t), from = array ? 27 * b : i;
          CHECK(y.valid(b, t) == (input.x.valid(b, t) && (array || c.valid(b, t))));
          CHECK(y.at(i).real() == Approx((input.x.at(i) + c.at(from)).real()));
        }
      }
      for (const int64_t blocks : {1, 2}) {
        Stepper::Options options;
        options.blocks_per_step = blocks;
        Stepper stepper(layer, input, options);
        CHECK(compare_sequences(stepper.run_all(), y, {}).reason == "");
        CHECK(stepper.allocations() == 0);
      }
    }
  }
}

TEST_CASE("a constant with one batch item or one step is broadcast", "[constants]") {
  const Layer layer = make_model(kWhole);
  Input input{ramp({2, 4, 1}, 1), {{"c", ramp({1, 1, 1}, 10)}}};
  const Tensor y = apply(layer, input);
  for (int64_t i = 0; i < y.size(); ++i) CHECK(y.at(i) == input.x.at(i) + 10.0);
  CHECK(compare_sequences(Stepper(layer, input).run_all(), y, {}).reason == "");
}

TEST_CASE("steps beyond the end of a whole constant are invalid", "[constants]") {
  const Layer layer = make_model(kWhole);
  const Tensor x = ramp({1, 6, 1}, 1), c = ramp({1, 4, 1}, 10);
  Stepper stepper(layer, Input{x, {{"c", c}}}, {4});
  const Tensor y = stepper.run(0, 2);
  REQUIRE(y.time() == 8);
  for (int64_t t = 0; t < 8; ++t) {
    CHECK(y.valid(0, t) == (t < 4));
    if (t < 4) CHECK(y.at(t) == x.at(t) + c.at(t));
  }
}

TEST_CASE("streamed constants have the length of their blocks", "[constants]") {
  const Layer layer = make_model(kStreamed);
  const Tensor x = ramp({1, 4, 3}, 1);
  CHECK(alloc_failure(layer.get(), x, 4, {{"c", ramp({1, 4, 3}, 1)}}).status == SL_STATUS_OK);
  CHECK_THAT(alloc_failure(layer.get(), x, 4, {{"c", ramp({1, 8, 3}, 1)}}).message,
             Contains("constant \"c\" has 8 steps: expected 4, as x has"));
  CHECK_THAT(
      alloc_failure(layer.get(), x, 4, {{"c", ramp({1, 3, 3}, 1)}}).message,
      Contains("constant \"c\" has 3 steps for 4 of x: each block of 1 needs the same number"));

  // A shorter step takes its share of the constant; any other length is an error.
  const Tensor c = ramp({1, 4, 3}, 1), half = slice_time(x, 0, 2);
  sl_constant constant = {"c", c.view()};
  sl_state_options options = SL_STATE_OPTIONS_INIT;
  options.max_steps = 4;
  options.input = channel_spec(x);
  options.constants = &constant;
  options.num_constants = 1;
  const State state(layer, options);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = &constant;
  run.num_constants = 1;
  Tensor y = half;
  const sl_sequence in = half.view();
  sl_sequence out = y.view();
  const auto step = [&](sl_error* e) {
    return sl_layer_step(layer.get(), state.get(), &in, &out, &run, e);
  };
  CHECK(failure_of(step).message ==
        "constant \"c\" is float32 [1, 4, 3]: a call of 2 steps takes float32 [1, 2, 3]");
  constant.value.dims[1] = 2;
  CHECK(failure_of(step).status == SL_STATUS_OK);
  CHECK(y.at(0) == 2.0);
}

TEST_CASE("a constant is streamed or whole, not both", "[constants]") {
  const Layer layer = make_model(serial(kStreamed + "," + kWhole));
  const Tensor x = ramp({1, 2, 1}, 1);
  CHECK(apply_failure(layer.get(), x, {{"c", x}}).status == SL_STATUS_OK);
  const Failure failure = alloc_failure(layer.get(), x, 2, {{"c", x}});
  CHECK(failure.status == SL_STATUS_UNSUPPORTED);
  CHECK(failure.message ==
        "constant \"c\" cannot be both streamed, as Conditioning \"streamed\" reads it, and whole, "
        "as Conditioning \"whole\" does");
}

TEST_CASE("every combinator passes constants to its children", "[constants]") {
  std::mt19937 rng(5);
  const std::string both = R"({"type":"Parallel","combination":"add","layers":[)" + kWhole +
                           R"(,{"type":"Residual","layers":[)" + kWhole + "]}]}";
  const std::string repeated = R"({"type":"Repeat","num_repeats":2,"layer":)" + serial(both) + "}";
  const Layer layer = make_model(serial(R"({"type":"Delay","length":1},)" + repeated));
  REQUIRE(sl_layer_constant_count(layer.get()) == 1);
  Input input;
  input.x = random_sequence(SL_DTYPE_FLOAT32, {2, 6, 3}, rng);
  input.constants = {{"c", random_sequence(SL_DTYPE_FLOAT32, {2, 7, 3}, rng)}};
  const Tensor y = apply(layer, input);
  CHECK(compare_sequences(Stepper(layer, input).run_all(), y, {}).reason == "");
}

TEST_CASE("a stream refuses the saved state of one with constants of other shapes", "[constants]") {
  const Layer layer = make_model(kWhole);
  const Tensor x = ramp({1, 2, 1}, 1);
  Stepper longer(layer, {x, {{"c", ramp({1, 3, 1}, 1)}}});
  Stepper shorter(layer, {x, {{"c", ramp({1, 2, 1}, 1)}}});
  CHECK_THROWS_WITH(longer.load(shorter.save()),
                    Contains("the saved state is of a stream of other options: constant \"c\" is "
                             "float32 [1, 2, 1], not float32 [1, 3, 1]"));
}

}  // namespace
}  // namespace sl::testing
