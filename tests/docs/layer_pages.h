// Generates the parts of docs/layers that the library itself can tell about the examples.
#ifndef SEQUENCE_LAYERS_TESTS_DOCS_LAYER_PAGES_H_
#define SEQUENCE_LAYERS_TESTS_DOCS_LAYER_PAGES_H_

#include <set>
#include <string>
#include <vector>

namespace sl::testing {

// A page whose generated parts are up to date.
struct RenewedPage {
  std::string text;
  std::set<std::string> types;      // layer types of the examples
  std::vector<std::string> errors;  // "line 3: ...", for examples without a generated part
};

// Generates the text between the lines "<!-- generated -->" and "<!-- end -->" for the last block
// of JSON before them, and the names between "<!-- dtypes -->", "<!-- functions -->" or "<!--
// windows -->" and the end.
RenewedPage renew(const std::string& page);

// Checks the contract of all examples with a generated part. `failures` has "line 3: <type>: <what
// it breaks>" for examples that do not keep it.
struct CheckedPage {
  int examples = 0;
  std::vector<std::string> failures;
};
CheckedPage check_examples(const std::string& page);

// Layer types of the library that are not in `documented`.
std::vector<std::string> types_without_section(const std::set<std::string>& documented);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_DOCS_LAYER_PAGES_H_
