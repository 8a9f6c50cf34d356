// Fault 25: inputs and configs that the reference accepts were refused: complex numbers, integers
// for layers with float outputs, functions over an axis.
#include <catch2/catch.hpp>

#include "faults/faults.h"
#include "support/models.h"
#include "testing/runner.h"

namespace sl::testing {
namespace {

void check_golden(const std::string& directory, const std::string& types) {
  const ToolRun run = run_tool({"golden", directory, "--only", types});
  INFO(run.output);
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Catch::Matchers::Contains(" 0 failed"));
}

TEST_CASE("fault 25: the reported cases pass", "[f25]") {
  check_golden(fault_input("golden"), "ReferenceAcceptsWeRefuse");
}

TEST_CASE("fault 25: cases of other dtypes and functions pass", "[f25]") {
  check_golden(SL_GOLDEN_DIR, "Dtypes");
}

TEST_CASE("fault 25: a function over batch or time is refused with the reason", "[f25]") {
  const struct {
    const char* config;
    std::vector<int64_t> dims;
    const char* message;
  } cases[] = {
      {R"({"type":"GatedUnit","feature_activation":{"function":"softmax","axis":1},
           "gate_activation":null})",
       {1, 2, 3, 4},
       "over axis 1: expected a channel axis, which are 2 to 3 or -1 to -2"},
      {R"({"type":"Dense","features":4,"activation":{"function":"softmax","axis":-2}})",
       {1, 2, 4},
       "over axis -2: expected a channel axis, which are 2 to 2 or -1 to -1"},
      {R"({"type":"GatedUnit","feature_activation":{"function":"softmax","axis":[-1,1]},
           "gate_activation":null})",
       {1, 2, 3, 4},
       "over axis 1: expected a channel axis, which are 2 to 3 or -1 to -2"},
      {R"({"type":"GatedUnit","feature_activation":{"function":"softmax","axis":[-1,3]},
           "gate_activation":null})",
       {1, 2, 3, 4},
       "names axis 3 twice"},
      {R"({"type":"RGLRU","units":4,"num_heads":1})", {1, 2, 4}, "cannot compute on complex64"},
  };
  for (const auto& c : cases) {
    INFO(c.config);
    const Layer layer = make_model(c.config, 4);
    const auto dtype =
        std::string_view(c.message).ends_with("complex64") ? SL_DTYPE_COMPLEX64 : SL_DTYPE_FLOAT32;
    const auto input = make_sequence(dtype, c.dims);
    CHECK_THROWS_WITH(apply(layer, {input, {}}), Catch::Matchers::Contains(c.message));
  }
  CHECK_THROWS_WITH(
      make_model(R"({"type":"LSTM","units":4,"activation":{"function":"softmax","axis":1}})", 4),
      Catch::Matchers::Contains(
          "\"axis\" 1: here the function is over the units, expected -1 or 2"));
  CHECK_THROWS_WITH(
      make_model(R"({"type":"LSTM","units":4,"activation":{"function":"softmax","axis":[-1,2]}})",
                 4),
      Catch::Matchers::Contains("\"axis\" -1, 2: here the function is over the units"));
  for (const char* axis : {"[2,2]", "12", "-13", "[true]", "null", "\"all\""}) {
    const std::string config =
        R"({"type":"Dense","features":4,"activation":{"function":"softmax","axis":)" +
        std::string(axis) + "}}";
    CHECK_THROWS_WITH(
        make_model(config.c_str(), 4),
        Catch::Matchers::Contains("\"axis\" is an integer or a list of different ones"));
  }
}

}  // namespace
}  // namespace sl::testing
