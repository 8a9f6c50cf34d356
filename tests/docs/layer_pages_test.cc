// Tests the generator of the pages of docs/layers, and its errors for pages that cannot be
// generated.
#include "docs/layer_pages.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <sstream>

#include "ops/window.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

using Catch::Contains;

std::string page_of(const std::string& info, const std::string& config,
                    const std::string& generated = "") {
  return "# Page\n\n```json" + info + "\n" + config + "\n```\n\n<!-- generated -->\n" + generated +
         "<!-- end -->\n\nThe rest.\n";
}

TEST_CASE("a generated part describes fields, specs, weights, time and state", "[docs]") {
  const std::string config =
      R"({"type": "Conv1D", "filters": 2, "kernel_size": 3, "padding": "causal"})";
  const RenewedPage page = renew(page_of(" input=float32[4]", config, "Something old.\n"));
  CHECK(page.types == std::set<std::string>{"Conv1D"});
  CHECK_THAT(page.text, Contains("| `filters` | integer, at least 1 | required |\n"));
  CHECK_THAT(page.text, Contains("| `padding` | padding or [before, after] | `\"valid\"` |\n"));
  CHECK_THAT(page.text, Contains("Ignored: `precision`, "));
  CHECK_THAT(page.text, Contains("- Input: `float32[4]`\n- Output: `float32[2]`\n"));
  CHECK_THAT(page.text, Contains("`params.bias` `float32[2]`, `params.kernel` `float32[3, 4, 2]`"));
  CHECK_THAT(page.text, Contains("block size 1, output ratio 1, input latency 0, output latency 0, "
                                 "receptive field [-2, 0]\n"));
  CHECK_THAT(page.text, Contains("`values` `float32[batch, 6, 4]`, `mask` `bool[batch, 6]`, "
                                 "`cursor` `int32[batch]`\n<!-- end -->\n\nThe rest.\n"));
  CHECK_THAT(page.text, !Contains("Something old"));
  CHECK(renew(page.text).text == page.text);
}

TEST_CASE("a generated part uses the words after the example's JSON marker", "[docs]") {
  CHECK_THAT(renew(page_of(" input=float32[3] any.child_layer=3 stack.child_layer=2",
                           R"({"type": "Repeat", "num_repeats": 2,
                               "layer": {"type": "Dense", "features": 3}})"))
                 .text,
             Contains("`params.child_layer.kernel` `float32[2, 3, 3]`"));
  CHECK_THAT(renew(page_of(" input=complex64[]", R"({"type": "Emit", "name": "tap"})")).text,
             Contains("- Output: `complex64[]`\n- Emits: `complex64[]`\n"));
  CHECK_THAT(renew(page_of(" input=float32[1] constant.source=float32[8] array.table=int8[2,3]",
                           R"({"type": "Relu"})"))
                 .text,
             Contains("- Constants: `source` `float32[8]`, `table` `int8[2, 3]` (an array)\n"));
  CHECK_THAT(
      renew(page_of(" input=float32[4]", R"({"type": "Conv1D", "filters": 1, "kernel_size": 2})"))
          .text,
      Contains("- State: layer-wise only, no steps\n"));
}

TEST_CASE("other blocks of code contain neither examples nor markers", "[docs]") {
  const std::string page = "```text\n<!-- generated -->\n{\"type\": \"Relu\"}\n```\n";
  CHECK(renew(page).text == page);
  CHECK(renew(page).types.empty());
}

TEST_CASE("a page that cannot be generated gives an error with line and reason", "[docs]") {
  const auto error_of = [](const std::string& page) {
    const auto errors = renew(page).errors;
    return errors.empty() ? "none" : errors[0];
  };
  CHECK(error_of("# Page\n\n<!-- generated -->\n<!-- end -->\n") ==
        "line 3: there is no block of JSON before it");
  CHECK(error_of("```json input=float32[1]\n{\"type\": \"Relu\"}\n```\n<!-- generated -->\n") ==
        "line 4: there is no \"<!-- end -->\" before it");
  CHECK_THAT(error_of(page_of("", "{\"type\": ")), Contains("line 7: the block of JSON before it"));
  CHECK_THAT(error_of(page_of("", R"({"type": "Relux"})")), Contains("type \"Relux\"; did you"));
  CHECK_THAT(error_of(page_of("", R"({"type": "Dense"})")), Contains("\"features\""));
  CHECK_THAT(error_of(page_of(" inputs=float32[1]", "{}")),
             Contains("line 3: \"inputs=float32[1]\": expected input="));
  CHECK_THAT(error_of(page_of(" input=float32", R"({"type": "Relu"})")), Contains("is not a spec"));
  CHECK_THAT(error_of(page_of(" input=float32[a]", R"({"type": "Relu"})")),
             Contains("is not a list of sizes"));
  CHECK_THAT(error_of(page_of(" input=float31[1]", R"({"type": "Relu"})")), Contains("float31"));
  // A Relu takes any input, so its spec must be given.
  CHECK_THAT(error_of(page_of("", R"({"type": "Relu"})")), Contains("line 7: "));
  CHECK_THAT(error_of(page_of(" input=int32[4]", R"({"type": "Sigmoid"})")), Contains("Sigmoid"));
}

TEST_CASE("all bad examples of a page are reported", "[docs]") {
  const RenewedPage page = renew(page_of("", R"({"type": "Relux"})") +
                                 page_of(" input=float32[2]", R"({"type": "Abs"})"));
  CHECK(page.errors.size() == 1);
  CHECK(page.types.contains("Abs"));
  CHECK_THAT(page.text, Contains("- Output: `float32[2]`"));
}

TEST_CASE("layer types without a section are found", "[docs]") {
  const auto missing = types_without_section({"Conv1D", "Serial"});
  const auto has = [&](const char* type) {
    return std::find(missing.begin(), missing.end(), type) != missing.end();
  };
  CHECK(has("Relu"));
  CHECK_FALSE(has("Conv1D"));
  CHECK_FALSE(has("Serial"));
}

// The cells of the rows of the table that follows a heading.
std::vector<std::vector<std::string>> rows_after(const std::string& page,
                                                 const std::string& heading) {
  std::istringstream text(page.substr(page.find(heading)));
  std::vector<std::vector<std::string>> rows;
  std::string line;
  while (std::getline(text, line) && (rows.empty() || line.starts_with("|"))) {
    if (!line.starts_with("|")) continue;
    std::vector<std::string> cells;
    std::istringstream parts(line.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');)
      cells.push_back(cell.size() > 2 ? cell.substr(1, cell.size() - 2) : "");
    rows.push_back(cells);
  }
  rows.erase(rows.begin(), rows.begin() + 2);  // head and rule
  return rows;
}

TEST_CASE("the table of paddings has a row for each mode, which tells what windows do", "[docs]") {
  const std::string page = read_file(SL_SOURCE_DIR "/docs/layers/convolution.md");
  std::map<std::string, std::vector<std::string>> rows;
  for (const auto& row : rows_after(page, "## Time: padding")) rows[row.at(0)] = row;
  const ops::Padding modes[] = {
#define SL_PADDING(Name, ...) ops::Padding::k##Name,
#include "ops/paddings.inc"
  };
  CHECK(rows.size() == std::size(modes));
  for (const ops::Padding mode : modes) {
    const std::string name = ops::name_of(mode);
    const std::string frames = mode == ops::Padding::kExplicit ? " (`Frame`)" : "";
    const std::string label = name.empty() ? "`[before, after]`" + frames : "`" + name + "`";
    INFO(label);
    REQUIRE(rows.count(label) == 1);
    const std::vector<std::string>& row = rows[label];
    const ops::Window window{5, 2, 1, {mode, {3, 1}}};
    CHECK((row.at(1) != "0") == (window.pads().before > 0));
    CHECK((row.at(2) != "0") == (window.pads().after > 0));
    CHECK(row.at(4) == (window.supports_step() ? "yes" : "no"));
    CHECK((row.at(5) != "0") == (window.input_latency() > 0));
    CHECK((row.at(6) != "") == window.supports_step());
    CHECK((window.step_obstacle("padding") == "") == window.supports_step());
  }
}

}  // namespace
}  // namespace sl::testing
