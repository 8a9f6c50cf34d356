// Tests the option weight_format: which matrices get which format, and what is refused.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>

#include "faults/faults.h"
#include "faults/golden_cases.h"
#include "support/models.h"
#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

constexpr const char* kTwo =
    R"({"type":"Serial","layers":[{"type":"Dense","features":64,"name":"first"},)"
    R"({"type":"Dense","features":8,"name":"second"}]})";

sl_layer_options options_of(const char* format) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.weight_format = format;
  return options;
}

Layer make_two(const char* format) {
  const sl_layer_options options = options_of(format);
  return make_model(kTwo, 64, &options);
}

// The bytes of each format that the layer of that index has.
json weight_bytes(const Layer& layer, size_t child) {
  const Tensor x = make_sequence(SL_DTYPE_FLOAT32, {1, 1, 64});
  const json tree = json::parse(layer.describe(channel_spec(x)));
  return tree.at("children").at(child).at("weight_bytes");
}

TEST_CASE("a weight format applies to all matrices, to those of a pattern, or to none",
          "[weight_format]") {
  const int64_t kernel = 64 * 64, bias = 64 * 4;
  CHECK(weight_bytes(make_two(nullptr), 0) == json{{"float32", 4 * kernel + bias}});
  CHECK(weight_bytes(make_two(""), 0) == json{{"float32", 4 * kernel + bias}});
  CHECK(weight_bytes(make_two("bfloat16"), 0) == json{{"float32", bias}, {"bfloat16", 2 * kernel}});
  const Layer mixed = make_two("bfloat16, *first.kernel=float32");
  CHECK(weight_bytes(mixed, 0) == json{{"float32", 4 * kernel + bias}});
  CHECK(weight_bytes(mixed, 1).contains("bfloat16"));
  // The last pattern that matches counts, whatever the collection.
  const Layer last = make_two("*=bfloat16,params.first.*=float32,fir*=bfloat16,float32");
  CHECK(weight_bytes(last, 0).contains("bfloat16"));
  CHECK(weight_bytes(last, 1).contains("bfloat16"));
}

// A convolution over three steps of 64 channels.
Layer make_convolution(int filters, const char* format) {
  const json config = {{"type", "Serial"},
                       {"layers",
                        {{{"type", "Conv1D"},
                          {"filters", filters},
                          {"kernel_size", 3},
                          {"padding", "causal"},
                          {"name", "taps"}}}}};
  const sl_layer_options options = options_of(format);
  return make_model(config.dump(), 64, &options);
}

TEST_CASE("a convolution of few filters keeps floats, which take no more bytes",
          "[weight_format]") {
  const int64_t inputs = 3 * 64, filter = 4 * inputs + 4;
  for (const char* format : {"int8", "*taps.kernel=int8"}) {
    CHECK(weight_bytes(make_convolution(4, format), 0) == json{{"float32", 4 * filter}});
    CHECK(weight_bytes(make_convolution(5, format), 0).contains("int8"));
  }
  CHECK(weight_bytes(make_convolution(2, "int4"), 0) == json{{"float32", 2 * filter}});
  CHECK(weight_bytes(make_convolution(3, "int4"), 0).contains("int4"));
}

std::string refusal(const char* format) {
  const Failure failure = thrown_by([&] { make_two(format); });
  CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
  return failure.message;
}

TEST_CASE("weight formats that cannot be are refused by name", "[weight_format]") {
  CHECK_THAT(refusal("int7"), Contains("\"int7\"") && Contains("float32, bfloat16, int8, int4"));
  CHECK_THAT(refusal("*=half"), Contains("\"half\" in \"*=half\""));
  CHECK_THAT(refusal("=bfloat16"), Contains("the pattern before \"=\" is empty"));
  CHECK_THAT(refusal("bfloat16,"), Contains("weight format \"\" in"));
  CHECK_THAT(refusal("bfloat16,float32"), Contains("two formats without a pattern"));
  CHECK_THAT(refusal("frist.kernel=bfloat16"),
             Contains("\"frist.kernel\" matches no tensor") && Contains("first.kernel"));
  CHECK_THAT(refusal("*.bias=bfloat16"), Contains("\"*.bias\" matches no tensor"));
}

TEST_CASE("tensors that are one matrix have one format", "[weight_format]") {
  const sl_layer_options options = options_of("*.key_projection.kernel=bfloat16");
  const Failure failure = thrown_by([&] {
    make_model(R"({"type":"DotProductAttention","source_name":"source","num_heads":2,)"
               R"("units_per_head":8,"name":"attention",)"
               R"("input_projection":{"type":"SeparateQueryKeyValueProjection"}})",
               16, &options);
  });
  CHECK(failure.status == SL_STATUS_INVALID_ARGUMENT);
  CHECK_THAT(failure.message, Contains("key_projection.kernel\" is to be bfloat16") &&
                                  Contains("value_projection.kernel\" float32") &&
                                  Contains("one matrix"));
}

// A set with a kernel of small integers, in bfloat16 or float32.
Weights integer_kernel(bool half) {
  Weights weights;
  Tensor kernel = make_array(half ? SL_DTYPE_BFLOAT16 : SL_DTYPE_FLOAT32, {40, 24});
  for (int64_t i = 0; i < kernel.size(); ++i) kernel.set(i, static_cast<double>(i * 7 % 41 - 20));
  weights.add("params.kernel", kernel.view());
  return weights;
}

TEST_CASE("bfloat16 weights of a checkpoint reach bfloat16 products exactly", "[weight_format]") {
  const std::string config = R"({"type":"Dense","features":24,"use_bias":false})";
  Input input{make_sequence(SL_DTYPE_FLOAT32, {1, 5, 40}), {}};
  for (int64_t i = 0; i < input.x.size(); ++i) input.x.set(i, static_cast<double>(i * 5 % 13 - 6));
  // All products and sums of these integers are exact in float32.
  const Tensor want = apply(Layer(config, integer_kernel(false)), input);
  const sl_layer_options options = options_of("bfloat16");
  CHECK(compare_bits(apply(Layer(config, integer_kernel(true), &options), input), want).reason ==
        "");
  // Other numbers are rounded.
  Weights weights;
  Tensor third = make_array(SL_DTYPE_FLOAT32, {1, 1});
  third.set(0, 1.0 / 3);
  weights.add("params.kernel", third.view());
  Input one{make_sequence(SL_DTYPE_FLOAT32, {1, 1, 1}), {}};
  one.x.set(0, 1);
  const Tensor y =
      apply(Layer(R"({"type":"Dense","features":1,"use_bias":false})", weights, &options), one);
  CHECK(y.at(0).real() == 0.333984375);
}

// The outputs of a case differ from the recorded ones, so only the contract is checked.
Report check_format(const GoldenCase& golden, const Weights& weights, const char* format) {
  const sl_layer_options options = options_of(format);
  const Layer layer(golden.config(), weights, &options);
  Case c = golden.check(&layer);
  c.output.reset();
  c.emits.clear();
  return check_contract(c);
}

TEST_CASE("every recorded case keeps the contract with bfloat16 weights", "[weight_format]") {
  int64_t checked = 0;
  for_each_golden_case([&](const GoldenCase& golden) {
    const Weights weights = select_weights(golden.tensors, golden.name + "/weights/");
    if (weights.tensor_count() == 0) return;
    INFO(golden.name);
    CHECK(check_format(golden, weights, "bfloat16").failures() == "");
    ++checked;
  });
  CHECK(checked > 700);
}

// Layers whose matrices have at least the 32 inputs that int8 and int4 need, with 40 channels.
const char* const kWide[] = {
    R"({"type":"Dense","features":20,"activation":"relu"})",
    R"({"type":"DenseShaped","output_shape":[4,6]})",
    R"({"type":"EinsumDense","equation":"...a,abc->...bc","output_shape":[3,5],"bias_axes":"bc"})",
    R"({"type":"Conv1D","filters":24,"kernel_size":3,"dilation_rate":2,"padding":"causal"})",
    R"({"type":"Conv1D","filters":24,"kernel_size":4,"strides":2,"padding":"causal",)"
    R"("use_weight_norm":true})",
    R"({"type":"Conv1DTranspose","filters":9,"kernel_size":6,"strides":3,"padding":"causal"})",
    R"({"type":"SeparableConv1D","filters":24,"kernel_size":3,"padding":"causal"})",
    R"({"type":"LSTM","units":36})",
    R"({"type":"Serial","layers":[{"type":"DotProductSelfAttention","num_heads":2,)"
    R"("units_per_head":16,"max_past_horizon":5,"max_future_horizon":0},)"
    R"({"type":"DenseShaped","output_shape":[40]}]})",
    R"({"type":"SequenceDense","features":7,"num_steps":64})",
    R"({"type":"MaskedDense","features":7,"num_steps":64})",
    R"({"type":"Repeat","num_repeats":3,"layer":{"type":"Residual","layers":[)"
    R"({"type":"Dense","features":40}]}})",
};

WeightHints wide_hints(const std::string& config) {
  WeightHint hint;
  hint.any = 40;
  if (config.find("Repeat") != std::string::npos) hint.stack = {3};
  // The kernels of DenseShaped, which may have any rank.
  hint.shape = {40, 4, 6};
  if (config.find("Attention") != std::string::npos) hint.shape = {2, 16, 40};
  return {{"", hint}};
}

TEST_CASE("layers keep the contract with int8 and int4 weights, also packed", "[weight_format]") {
  for (const char* config : kWide) {
    for (const char* format : {"int8", "int4"}) {
      INFO(config << " in " << format);
      const sl_layer_options options = options_of(format);
      std::mt19937 rng(5);
      const Weights weights = make_weights(config, wide_hints(config), rng);
      const Layer layer(config, weights, &options), plain(config, weights);
      Case c;
      c.layer = &layer;
      c.input.x = random_sequence(SL_DTYPE_FLOAT32, {3, 12, 40}, rng);
      CHECK(check_contract(c).failures() == "");
      const std::string tree = layer.describe(channel_spec(c.input.x));
      CHECK(tree.find("\"format\":\"" + std::string(format)) != std::string::npos);
      // The outputs are near those of float32, and not the same.
      const Tensor y = apply(layer, c.input), want = apply(plain, c.input);
      double signal = 0, noise = 0;
      for (int64_t i = 0; i < y.size(); ++i) {
        signal += std::norm(want.at(i));
        noise += std::norm(want.at(i) - y.at(i));
      }
      CHECK(noise > 0);
      CHECK(noise < signal * (std::string(format) == "int8" ? 1e-3 : 0.1));
      const std::string path = scratch_directory() + "/model.safetensors";
      layer.save_weights(path);
      CHECK(compare_bits(apply(Layer(config, Weights::open(path)), c.input), y).reason == "");
    }
  }
}

}  // namespace
}  // namespace sl::testing
