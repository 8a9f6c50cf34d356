// Fault 11: states of ordinary models could not be created. A step needed more workspace than its
// rehearsal if values exactly filled a chunk of the rehearsal's memory.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <optional>

#include "faults/faults.h"
#include "faults/golden_cases.h"
#include "support/models.h"

namespace sl::testing {
namespace {

Tensor repeated_channels(const Tensor& x, int64_t times) {
  std::vector<int64_t> dims = x.dims;
  const int64_t size = dims.back();
  dims.back() *= times;
  Tensor out = x.is_array ? make_array(x.dtype, dims) : make_sequence(x.dtype, dims);
  for (int64_t i = 0; i < out.size(); ++i)
    out.set(i, x.at(i / dims.back() * size + i % dims.back() % size));
  out.mask = x.mask;
  return out;
}

Tolerance tolerance_for(const Tensor& y) {
  const double relative = is_half(y.dtype) ? 3e-2 : 1e-4;
  return {relative, relative * std::max(1.0, largest_magnitude(y))};
}

// Checks that streams created for calls of these numbers of blocks give what the layer-wise run
// gives.
void check_calls(const Layer& layer, const Input& input, std::initializer_list<int64_t> sizes) {
  const Tensor y = apply(layer, input);
  for (const int64_t size : sizes) {
    Stepper::Options options;
    options.max_steps = size;
    Stepper stepper(layer, input, options);
    std::vector<Tensor> parts;
    for (int64_t begin = 0; begin < stepper.num_steps(); begin += size)
      parts.push_back(stepper.call(begin, begin + size));
    const Tensor made = drop_steps(concat_time(parts), layer.output_latency());
    INFO("calls of " << size);
    CHECK(compare_sequences(made, y, tolerance_for(y)).reason == "");
    CHECK(stepper.allocations() == 0);
  }
}

Input random_steps(int64_t batch, int64_t time, std::vector<int64_t> channels) {
  std::mt19937 rng(3);
  channels.insert(channels.begin(), {batch, time});
  return {random_sequence(SL_DTYPE_FLOAT32, channels, rng), {}};
}

// A model with one input channel, and with layers "norm" and "norm2" of `channels` channels.
Layer make_normalized(const std::string& config, int64_t channels) {
  std::mt19937 rng(1);
  const WeightHints hints = {
      {"", {1, {}, {}}}, {"norm", {channels, {}, {}}}, {"norm2", {channels, {}, {}}}};
  return Layer(config, make_weights(config, hints, rng));
}

std::string serial(const std::string& layers) {
  return R"({"type":"Serial","layers":[)" + layers + "]}";
}

TEST_CASE("fault 11: the recorded model has states", "[f11]") {
  const ToolRun run =
      run_tool({"verify", fault_input("models/rehearsal"), "--time", "1", "--batch", "1"});
  INFO(run.output);
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Catch::Matchers::Contains(", 0 failed"));
}

TEST_CASE("fault 11: convolutions of 512 steps have states", "[f11]") {
  const Layer layer = make_normalized(
      serial(
          R"({"type":"ExpandDims","axis":-1},{"type":"Conv1D","filters":64,"kernel_size":3,"padding":"causal"},)"
          R"({"type":"Relu"},{"type":"BatchNormalization","name":"norm"})"),
      64);
  check_calls(layer, random_steps(1, 512, {}), {1, 64, 512});
}

// Layers that work in place, and layers that do not, with values of sizes around those of the
// chunks by which a rehearsal's memory grows.
TEST_CASE("fault 11: states can be created for values of any size", "[f11]") {
  const char* kTails[] = {
      R"({"type":"Relu"},{"type":"LayerNormalization","name":"norm"})",
      R"({"type":"LayerNormalization","name":"norm"},{"type":"Tanh"},{"type":"Scale","scale":2.0},)"
      R"({"type":"LayerNormalization","name":"norm2"},{"type":"Relu"})",
      R"({"type":"Residual","layers":[{"type":"MaskInvalid"},{"type":"Abs"}]},{"type":"Relu"},)"
      R"({"type":"Softmax"},{"type":"Flatten"},{"type":"Exp"})",
      R"({"type":"Relu"},{"type":"Cast","dtype":"bfloat16"},{"type":"Tanh"},{"type":"Softmax"})",
  };
  const char* kConvolution = R"({"type":"Conv1D","filters":4,"kernel_size":2,)"
                             R"("padding":"causal_valid"},)";
  for (const char* tail : kTails) {
    const Layer layer = make_normalized(serial(std::string(kConvolution) + tail), 4);
    for (const int64_t steps : {1, 3, 4095, 4096, 4097, 8191, 8192, 12288, 16384, 20000, 32768}) {
      INFO(tail << " on " << steps << " steps");
      check_calls(layer, random_steps(1, steps, {1}), {steps});
    }
  }
}

// Memory that a step allocates must not depend on masks, including those of constants.
TEST_CASE("fault 11: states can be created for inputs with invalid steps", "[f11]") {
  const std::string upsampled =
      serial(R"({"type":"Downsample1D","rate":2},{"type":"MaskInvalid"},)"
             R"({"type":"RNN","cell":{"type":"SimpleCell","features":70}},{"type":"Relu"})");
  const Layer layer = make_model(upsampled, 64);
  Input input = random_steps(1, 64, {64});
  for (size_t t = 0; t < 64; ++t) input.x.mask[t] = t % 2 == 0 || t % 10 == 0 ? 1 : 0;
  check_calls(layer, input, {1, 8, 32});
  for (size_t t = 0; t < 64; ++t) input.x.mask[t] = t % 4 == 0 ? 1 : 0;
  check_calls(layer, input, {1, 8, 32});
}

TEST_CASE("fault 11: recorded cases run in calls of every size", "[f11]") {
  int64_t cases = 0;
  for_each_golden_case([&](const GoldenCase& golden) {
    const Layer layer = golden.layer();
    if (!layer.supports_step()) return;
    Case c = golden.check(&layer);
    Stepper::Options options;
    options.max_steps = 12;
    Stepper stepper(layer, c.input, options);
    INFO(golden.name);
    for (int64_t size = options.max_steps; size > 0; --size) {
      INFO("a call of " << size);
      CHECK_NOTHROW(stepper.call(0, size));
      stepper.reset();
    }
    CHECK(stepper.allocations() == 0);
    ++cases;
  });
  CHECK(cases > 900);
}

// Cases are left out if weights of that size cannot be made, or if the layer does not accept the
// input.
TEST_CASE("fault 11: recorded cases run with many times their channels", "[f11]") {
#ifdef SL_SANITIZE  // 100 times would take minutes
  constexpr int64_t kTimes = 10;
#else
  constexpr int64_t kTimes = 100;
#endif
  int64_t cases = 0;
  for_each_golden_case([&](const GoldenCase& golden) {
    const Case c = golden.check(nullptr);
    if (c.input.x.dims.size() < 3) return;
    Input input = c.input;
    input.x = repeated_channels(input.x, kTimes);
    std::mt19937 rng(1);
    std::optional<Layer> layer;
    try {
      layer.emplace(golden.config(),
                    make_weights(golden.config(), {{"", {input.x.dims.back(), {}, {}}}}, rng));
      output_spec(*layer, input);
    } catch (const Error&) {
      return;
    }
    if (!layer->supports_step()) return;
    INFO(golden.name);
    CHECK_NOTHROW(check_calls(*layer, input, {1, 16}));
    ++cases;
  });
  CHECK(cases > 300);
}

}  // namespace
}  // namespace sl::testing
