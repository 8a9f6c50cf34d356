// Fault 28: one recorded case of a Repeat contradicted its own steps. So the check of all golden
// data, which the README recommends, ended with status 1.
#include <catch2/catch.hpp>

#include "faults/faults.h"

namespace sl::testing {
namespace {

TEST_CASE("fault 28: every recorded model passes", "[f28]") {
  const ToolRun run = run_tool({"golden", SL_GOLDEN_DIR, "--only", "Models"});
  CHECK(run.status == 0);
  CHECK_THAT(run.output, Catch::Matchers::Contains("0 failed"));
}

}  // namespace
}  // namespace sl::testing
