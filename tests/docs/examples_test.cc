// Checks that every example in docs/layers keeps the contract.
#include <catch2/catch.hpp>
#include <filesystem>

#include "docs/layer_pages.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

TEST_CASE("the examples of docs/layers keep the contract", "[docs][examples]") {
  int examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SL_SOURCE_DIR "/docs/layers")) {
    if (entry.path().extension() != ".md") continue;
    const CheckedPage page = check_examples(read_file(entry.path().string()));
    examples += page.examples;
    for (const std::string& failure : page.failures) {
      FAIL_CHECK(entry.path().filename().string() << ", " << failure);
    }
  }
  CHECK(examples > 100);
}

TEST_CASE("an example that cannot run is a failure", "[docs][examples]") {
  const std::string page =
      "```json input=int32[4]\n{\"type\": \"Sigmoid\"}\n```\n<!-- generated -->\n<!-- end -->\n";
  const CheckedPage checked = check_examples(page);
  CHECK(checked.examples == 1);
  CHECK(checked.failures.size() == 1);
}

}  // namespace
}  // namespace sl::testing
