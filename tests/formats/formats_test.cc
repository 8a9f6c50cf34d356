// Tests the option weight_format: which matrices get which format, and what is refused.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>

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

TEST_CASE("every layer type works with bfloat16 matrices", "[weight_format]") {
  const sl_layer_options options = options_of("bfloat16");
  int64_t changed = 0;
  for_each_golden_case([&](const GoldenCase& golden) {
    INFO(golden.name);
    const Weights weights = select_weights(golden.tensors, golden.name + "/weights/");
    const Layer plain = golden.layer();
    const Layer layer(golden.config(), weights, &options);
    Case c = golden.check(&layer);
    const Tensor y = apply(layer, c.input);
    // Errors of a 256th of the weights stay of the order of the outputs, where layers are smooth.
    const Tensor want = apply(plain, c.input);
    CHECK(y.dims == want.dims);
    CHECK(y.mask == want.mask);
    changed += y.bytes != want.bytes;
  });
  CHECK(changed > 300);
}

}  // namespace
}  // namespace sl::testing
