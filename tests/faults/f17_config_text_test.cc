// Fault 17: the library read a config.json with duplicate keys, or with text after the config.
#include <catch2/catch.hpp>
#include <chrono>

#include "faults/faults.h"
#include "support/models.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;

Failure create(const std::string& config) {
  sl_layer* layer = nullptr;
  const Failure failure = failure_of([&](sl_error* e) {
    return sl_layer_create(config.data(), config.size(), nullptr, nullptr, &layer, e);
  });
  sl_layer_free(layer);
  return failure;
}

void check_refused(const std::string& config, const std::string& message) {
  INFO(config);
  const Failure failure = create(config);
  CHECK(failure.status == SL_STATUS_CONFIG);
  CHECK_THAT(failure.message, Contains(message));
}

TEST_CASE("fault 17: duplicate keys are refused", "[f17]") {
  check_refused(R"({"type":"Relu","type":"Dense","features":2})", "$.type: the key is there twice");
  check_refused(R"({"type":"Relu","name":"a","name":"a"})", "$.name: the key is there twice");
  check_refused(R"({"type":"Relu","\u0074ype":"Relu"})", "$.type: the key is there twice");
  check_refused(
      R"({"type":"Serial","layers":[{"type":"Relu"},{"type":"Scale","scale":1,"scale":2}]})",
      "$.layers[1].scale: the key is there twice");
  check_refused(
      R"({"type":"Serial","layers":[{"type":"Residual","layers":[{"type":"Relu","name":"a","name":"b"}]}]})",
      "$.layers[0].layers[0].name: the key is there twice");
  // Duplicates in ignored fields are refused too.
  check_refused(R"({"type":"Dropout","rate":0,"precision":{"a":{"b":1,"b":2}}})",
                "$.precision.a.b: the key is there twice");
  check_refused(R"({"type":"Relu","":1,"":2})", "$[\"\"]: the key is there twice");
}

TEST_CASE("fault 17: text after the config is refused", "[f17]") {
  const std::string good = R"({"type":"Relu"})";
  CHECK(create(good).status == SL_STATUS_OK);
  CHECK(create(" \n" + good + " \r\n\t").status == SL_STATUS_OK);
  check_refused(good + std::string("\0 garbage", 9), "$: not JSON: line 1, column 16: a NUL byte");
  check_refused(good + std::string(1, '\0'), "a NUL byte");
  check_refused(good + "x", "$: not JSON: line 1, column 16");
  check_refused(good + good, "$: not JSON: line 1, column 16");
  check_refused(good + "\n}", "$: not JSON: line 2, column 1");
  check_refused(good + "// comment", "$: not JSON");
}

TEST_CASE("fault 17: invalid JSON is refused, with its position", "[f17]") {
  check_refused("", "$: not JSON: line 1, column 1");
  check_refused("\xef\xbb\xbf{\"type\":\"Relu\"}", "begins with a byte order mark");
  check_refused("\xff\xfe{\0", "$: not JSON");
  check_refused("{\"type\":\"Re\xc3lu\"}", "$.type: not JSON: line 1");
  check_refused("{\"type\":\"\xed\xa0\x80\"}", "$.type: not JSON");  // an encoded surrogate
  check_refused("{\"type\":\"Re\nlu\"}", "$.type: not JSON");
  check_refused(R"({"type":"Scale","scale":NaN})",
                "$.scale: not JSON: line 1, column 25: syntax error while parsing value - invalid "
                "literal (JSON has no such number: write \"nan\"");
  check_refused(R"({"type":"Scale","scale":-Infinity})", "JSON has no such number");
  check_refused(R"({"type":"Scale","scale":1e999})", "$.scale: not JSON");
  check_refused(R"({"type":"Scale","scale":01})", "$: not JSON: line 1, column 26");
  check_refused(R"({'type':'Relu'})", "$: not JSON: line 1, column 2");
  check_refused(R"({"type":"Serial","layers":[{"type":"Relu"},)", "$.layers[1]: not JSON");
  check_refused(R"({"type":"Relu")", "$: not JSON");
}

// A long path is cut at its start, at a whole character.
TEST_CASE("fault 17: paths and messages are bounded", "[f17]") {
  std::string config;
  const std::string name(20, 'n');
  for (int i = 0; i < 60; ++i) config += "{\"\\u00e4" + name + "\":";
  const Failure deep = create(config + "?");
  CHECK_THAT(deep.message, Contains("not JSON"));
  CHECK(deep.message.size() < 600);
  const Failure longest = create("{\"type\": x" + std::string(100000, 'y'));
  CHECK(longest.message.size() < 300);
}

TEST_CASE("fault 17: a text is read in linear time", "[f17]") {
  std::string config = R"({"type":"Relu")";
  for (int i = 0; i < 200000; ++i) config += ",\"f" + std::to_string(i) + "\":0";
  const auto start = std::chrono::steady_clock::now();
  check_refused(config + ",\"f7\":1}", "$.f7: the key is there twice");
  const auto elapsed = std::chrono::steady_clock::now() - start;
  CHECK(elapsed < std::chrono::seconds(10));  // a search per key would take minutes
}

TEST_CASE("fault 17: the reported files are refused", "[f17]") {
  const auto output = [](const char* model) {
    const ToolRun run =
        run_tool({"info", fault_input(std::string("models/") + model), "--input", "3"});
    CHECK(run.status == 1);
    return run.output;
  };
  CHECK_THAT(output("g_json_dup_type"), Contains("$.type: the key is there twice"));
  CHECK_THAT(output("g_json_nul_tail"), Contains("$: not JSON: line 1, column 30: a NUL byte"));
}

}  // namespace
}  // namespace sl::testing
