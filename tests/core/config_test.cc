#include "core/config.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "core/status.h"
#include "ops/activation.h"

namespace sl {
namespace {

using Catch::Matchers::Contains;

// A config with these fields. It owns its JSON.
struct Fields {
  explicit Fields(const std::string& fields)
      : json(Json::parse("{\"type\":\"T\"" + (fields.empty() ? "" : "," + fields) + "}")),
        config(json, "$.layers[2]") {}

  Json json;
  Config config;
};

template <typename Read>
std::string message_of(const std::string& fields, Read&& read) {
  Fields given(fields);
  try {
    read(given.config);
  } catch (const Error& error) {
    CHECK(error.code() == Code::kConfig);
    return error.what();
  }
  return "no error";
}

std::string array_message(const std::string& value) {
  return message_of("\"a\":" + value, [](Config& c) { c.array("a"); });
}

TEST_CASE("the nearest name is found if it is near enough", "[config]") {
  const std::vector<std::string> names = {"Conv1D", "Conv2D", "Dense", "Softmax"};
  CHECK(nearest_name("conv1d", names) == "Conv1D");
  CHECK(nearest_name("Conv1", names) == "Conv1D");
  CHECK(nearest_name("Dence", names) == "Dense");
  CHECK(nearest_name("SoftMax", names) == "Softmax");
  CHECK(nearest_name("Attention", names).empty());
  CHECK(nearest_name("", names).empty());
  CHECK(nearest_name("x", {}).empty());
}

TEST_CASE("invalid configs are refused", "[config]") {
  const auto message = [](const std::string& text) {
    const Json json = Json::parse(text);
    try {
      const Config config(json, "$");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(message("7") == "$: expected an object with a \"type\", got 7");
  CHECK(message("[]") == "$: expected an object with a \"type\", got []");
  CHECK(message("{}") == "$: the object has no \"type\"");
  CHECK(message("{\"type\": 7}") == "$.type: expected a layer type (string), got 7");
}

TEST_CASE("integers", "[config]") {
  const auto message = [](const std::string& value) {
    return message_of("\"n\":" + value, [](Config& c) { c.integer("n", 1); });
  };
  CHECK(Fields("\"n\":3").config.integer("n", 1) == 3);
  CHECK(Fields("\"n\":3.0").config.integer("n", 1) == 3);
  CHECK(Fields("").config.integer("n", 1, 9) == 9);
  CHECK(message("2.5") == "$.layers[2].n (T): expected an integer, got 2.5");
  CHECK(message("\"3\"") == "$.layers[2].n (T): expected an integer, got \"3\"");
  CHECK(message("true") == "$.layers[2].n (T): expected an integer, got true");
  CHECK(message("null") == "$.layers[2].n (T): expected an integer, got null");
  CHECK(message("0") == "$.layers[2].n (T): expected at least 1, got 0");
  CHECK(message("1e300") == "$.layers[2].n (T): expected an integer, got 1e+300");
  CHECK(message("99999999999") == "$.layers[2].n (T): expected at most 2^31, got 99999999999");
  // Above the range of int64_t: an unchecked cast would give -1.
  CHECK(message("18446744073709551615") ==
        "$.layers[2].n (T): expected at most 2^31, got 18446744073709551615");
}

TEST_CASE("lists of integers", "[config]") {
  CHECK(Fields("\"n\":3").config.integers("n") == std::vector<int64_t>{3});
  CHECK(Fields("\"n\":[3,-1]").config.integers("n") == std::vector<int64_t>{3, -1});
  CHECK(Fields("\"n\":null").config.optional_integers("n") == std::nullopt);
  CHECK(Fields("\"n\":2").config.integers_of("n", 3, 1, 1) == std::vector<int64_t>{2, 2, 2});
  CHECK(Fields("").config.integers_of("n", 2, 1, 7) == std::vector<int64_t>{7, 7});
  CHECK(message_of("\"n\":[1,[2]]", [](Config& c) { c.integers("n"); }) ==
        "$.layers[2].n[1] (T): expected an integer, got [2]");
  CHECK(message_of("\"n\":[1,2]", [](Config& c) { c.integers_of("n", 3, 1, 1); }) ==
        "$.layers[2].n (T): expected one integer or a list of 3, got 2");
  CHECK(message_of("\"n\":[1]", [](Config& c) { c.integers_of("n", 2, 1, 1); }) ==
        "$.layers[2].n (T): expected one integer or a list of 2, got 1");
  CHECK(message_of("\"n\":[1,0]", [](Config& c) { c.integers_of("n", 2, 1, 1); }) ==
        "$.layers[2].n (T): expected at least 1, got 0");
  CHECK(message_of("\"n\":18446744073709551615", [](Config& c) { c.integers("n"); }) != "no error");
}

TEST_CASE("numbers, booleans and strings", "[config]") {
  CHECK(Fields("\"x\":0.5").config.number("x") == 0.5);
  CHECK(Fields("\"x\":2").config.number("x") == 2);
  CHECK(Fields("\"x\":\"-inf\"").config.number("x") < -1e300);
  CHECK(Fields("").config.number("x", 0.25) == 0.25);
  CHECK(message_of("\"x\":\"two\"", [](Config& c) { c.number("x"); }) ==
        "$.layers[2].x (T): expected a number, got \"two\"");
  CHECK(message_of("\"x\":1", [](Config& c) { c.boolean("x"); }) ==
        "$.layers[2].x (T): expected true or false, got 1");
  CHECK(message_of("\"x\":null", [](Config& c) { c.boolean("x", true); }) ==
        "$.layers[2].x (T): expected true or false, got null");
  CHECK(message_of("\"x\":[]", [](Config& c) { c.string("x"); }) ==
        "$.layers[2].x (T): expected a string, got []");
}

TEST_CASE("dtypes and choices", "[config]") {
  CHECK(Fields("\"d\":\"bfloat16\"").config.dtype("d") == DType::kBFloat16);
  CHECK(Fields("").config.dtype("d", DType::kInt8) == DType::kInt8);
  CHECK_FALSE(Fields("\"d\":null").config.optional_dtype("d"));
  CHECK_THAT(message_of("\"d\":\"float64\"", [](Config& c) { c.dtype("d"); }),
             Contains("expected one of \"float32\"") && Contains("got \"float64\""));
  const std::vector<std::string> names = {"add", "concat"};
  CHECK(Fields("\"c\":\"concat\"").config.choice("c", names, 0) == 1);
  CHECK(Fields("").config.choice("c", names, 0) == 0);
  CHECK(message_of("\"c\":\"concatenate\"", [&](Config& c) { c.choice("c", names, 0); }) ==
        "$.layers[2].c (T): expected one of \"add\", \"concat\", got \"concatenate\"");
  CHECK_THAT(message_of("\"c\":\"Add\"", [&](Config& c) { c.choice("c", names, 0); }),
             Contains("did you mean \"add\"?"));
  CHECK_THAT(message_of("\"c\":1", [&](Config& c) { c.choice("c", names, 0); }),
             Contains("expected one of") && Contains("got 1"));
}

TEST_CASE("activations", "[config]") {
  const auto activation = [](const std::string& fields) {
    Fields given(fields);
    return read_activation(given.config, "f");
  };
  const auto message = [](const std::string& value) {
    return message_of("\"f\":" + value, [](Config& c) { read_activation(c, "f"); });
  };
  CHECK(activation("\"f\":\"relu\"")->op == kernels::Unary::kRelu);
  CHECK_FALSE(activation("\"f\":null"));
  CHECK_FALSE(activation(""));
  const auto leaky = activation(R"("f":{"function":"leaky_relu","negative_slope":0.5})");
  CHECK(leaky->parameter == 0.5f);
  CHECK(message("\"relo\"") ==
        "$.layers[2].f (T): unknown function \"relo\"; did you mean \"relu\"?");
  CHECK_THAT(message("7"), Contains("expected the name of a function"));
  CHECK_THAT(message("{}"), Contains("expected the name of a function"));
  CHECK(message(R"({"function":"relu","slope":1})") ==
        "$.layers[2].f (T): \"relu\" takes no parameter \"slope\": 1");
  CHECK_THAT(message(R"({"function":"leaky_relu","negative_slope":"steep"})"),
             Contains("negative_slope"));
}

TEST_CASE("arrays", "[config]") {
  const Array scalar = Fields("\"a\":0.5").config.array("a");
  CHECK(scalar.shape.empty());
  CHECK(scalar.values == std::vector<complex64>{0.5f});
  CHECK(Fields("\"a\":[[1,2],[3,4]]").config.array("a").shape == Shape{2, 2});
  CHECK(Fields("\"a\":[[],[]]").config.array("a").shape == Shape{2, 0});
  const Array pairs = Fields(R"("a":{"complex":[[1,2],[3,4]]})").config.array("a");
  CHECK(pairs.shape == Shape{2});
  CHECK(pairs.values[1] == complex64(3, 4));
  for (const char* bad : {"[[1],[1,2]]", "[1,[2]]", "[[1],2]", "\"x\"", "[null]", "{}", "[{}]"}) {
    INFO(bad);
    CHECK_THAT(array_message(bad), Contains("expected a number or nested lists of equal lengths"));
  }
  CHECK_THAT(array_message(R"({"complex":[1,2,3]})"), Contains("(real, imaginary) pairs"));
  CHECK_THAT(array_message(R"({"complex":1})"), Contains("(real, imaginary) pairs"));
}

TEST_CASE("required and unknown fields", "[config]") {
  CHECK(message_of("", [](Config& c) { c.integer("filters", 1); }) ==
        "$.layers[2] (T): the required field \"filters\" (integer) is missing");
  CHECK(message_of("\"fliters\":3", [](Config& c) { c.integer("filters", 1); }) ==
        "$.layers[2] (T): the required field \"filters\" (integer) is missing; \"fliters\" is not "
        "a field of it");
  const auto finish = [](Config& c) {
    c.integer("filters", 1, 1);
    c.ignore({"kernel_init"});
    c.finish();
  };
  CHECK(message_of("\"filters\":1,\"kernel_init\":{}", finish) == "no error");
  CHECK(message_of("\"filtres\":1", finish) ==
        "$.layers[2].filtres (T): unknown field; did you mean \"filters\"?");
  CHECK(message_of("\"zzzzzzzz\":1", finish) ==
        "$.layers[2].zzzzzzzz (T): unknown field; T has \"type\", \"filters\", \"kernel_init\"");
}

TEST_CASE("configs within configs", "[config]") {
  Fields given(R"("layer":{"type":"U"},"layers":[{"type":"V"},{"type":"W"}])");
  CHECK(given.config.nested_required("layer").path() == "$.layers[2].layer");
  const std::vector<Config> list = given.config.list("layers");
  REQUIRE(list.size() == 2);
  CHECK(list[1].path() == "$.layers[2].layers[1]");
  CHECK(list[1].type() == "W");
  CHECK_FALSE(given.config.nested("other"));
  CHECK(message_of("\"layers\":7", [](Config& c) { c.list("layers"); }) ==
        "$.layers[2].layers (T): expected a list of layer configs, got 7");
  CHECK(message_of("\"layers\":[7]", [](Config& c) { c.list("layers"); }) ==
        "$.layers[2].layers[0]: expected an object with a \"type\", got 7");
}

TEST_CASE("long values are cut in messages", "[config]") {
  const std::string value = "\"" + std::string(1000, 'x') + "\"";
  CHECK(message_of("\"n\":" + value, [](Config& c) { c.integer("n", 1); }).size() < 150);
}

TEST_CASE("a config records which fields were read", "[config]") {
  Fields given(R"("units":4,"sizes":[1,2])");
  Config& config = given.config;
  config.integer("units", 1);
  config.number("epsilon", 1e-3);
  config.boolean("use_bias", true);
  config.string("mode", "auto");
  config.dtype("param_dtype", DType::kFloat32);
  config.optional_dtype("compute_dtype");
  config.choice("padding", {"valid", "same"}, 1);
  config.integers_of("sizes", 2, 0);
  config.integers_of("strides", 1, 1, 1);
  config.note("slope", "number or null", "0.5");
  config.raw("slope");
  read_activation(config, "activation", "tanh");
  config.ignore({"kernel_init", "units"});
  struct Known {
    const char* name;
    const char* accepts;
    const char* otherwise;
  };
  const std::vector<Known> expected = {
      {"units", "integer, at least 1", ""},
      {"epsilon", "number", "0.001"},
      {"use_bias", "true or false", "true"},
      {"mode", "string", "\"auto\""},
      {"param_dtype", "dtype", "\"float32\""},
      {"compute_dtype", "dtype or null", "null"},
      {"padding", "\"valid\", \"same\"", "\"same\""},
      {"sizes", "integer or list of 2, at least 0", ""},
      {"strides", "integer, at least 1", "1"},
      {"slope", "number or null", "0.5"},
      {"activation", "function", "\"tanh\""},
      {"kernel_init", "", "null"},
  };
  REQUIRE(config.fields().size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    INFO(expected[i].name);
    CHECK(config.fields()[i].name == expected[i].name);
    CHECK(config.fields()[i].accepts == expected[i].accepts);
    CHECK(config.fields()[i].otherwise == expected[i].otherwise);
  }
}

}  // namespace
}  // namespace sl
