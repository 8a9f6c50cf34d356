// Fault 25: inputs and configs that the reference accepts were refused: complex numbers, integers
// for layers with float outputs, functions over an axis.
#include <catch2/catch.hpp>

#include "faults/faults.h"

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

}  // namespace
}  // namespace sl::testing
