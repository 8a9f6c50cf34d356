// Checks that the example in docs/adding-a-layer.md keeps the contract, and that the page shows the
// current code.
#include <catch2/catch.hpp>

#include "support/models.h"
#include "testing/contract.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

TEST_CASE("the example of a layer keeps the contract", "[docs]") {
  const char* config = GENERATE(R"({"type":"LeakyIntegrator"})",
                                R"({"type":"Serial","layers":[{"type":"Delay","length":2},)"
                                R"({"type":"LeakyIntegrator","decay":-0.5}]})");
  const Layer layer = make_model(config, 3);
  std::mt19937 rng(1);
  Case c;
  c.layer = &layer;
  c.input.x = random_sequence(SL_DTYPE_FLOAT32, {3, 17, 3}, rng);
  c.probe_receptive_field = true;
  const Report report = check_contract(c);
  CHECK(report.failures() == "");
  CHECK(report.checks.size() >= 5);
}

TEST_CASE("the example of a layer refuses invalid configs and inputs", "[docs]") {
  CHECK_THROWS_WITH(make_model(R"({"type":"LeakyIntegrator","decay":1})"),
                    Catch::Contains("$.decay (LeakyIntegrator): expected a number between"));
  const Layer layer = make_model(R"({"type":"LeakyIntegrator","name":"leak"})", 3);
  Input input;
  input.x = make_sequence(SL_DTYPE_FLOAT32, {1, 4, 2});
  CHECK_THROWS_WITH(
      apply(layer, input),
      Catch::Contains("LeakyIntegrator \"leak\": expected float32[3], got float32[2]"));
}

TEST_CASE("docs/adding-a-layer.md shows the current code of the example", "[docs]") {
  const std::string source = read_file(SL_SOURCE_DIR "/tests/docs/leaky_integrator.cc");
  const std::string page = read_file(SL_SOURCE_DIR "/docs/adding-a-layer.md");
  CHECK(page.find("```cpp\n" + source + "```\n") != std::string::npos);
}

}  // namespace
}  // namespace sl::testing
