// The generated parts of docs/layers: what the library itself says of the example before each.
#ifndef SEQUENCE_LAYERS_TESTS_DOCS_LAYER_PAGES_H_
#define SEQUENCE_LAYERS_TESTS_DOCS_LAYER_PAGES_H_

#include <set>
#include <string>
#include <vector>

namespace sl::testing {

// A page whose generated parts are as the library of today has them.
struct RenewedPage {
  std::string text;
  std::set<std::string> types;      // of the examples
  std::vector<std::string> errors;  // "line 3: ...", of examples that nothing can be told of
};

// Between the lines "<!-- generated -->" and "<!-- end -->" stands what is told of the last block
// of JSON before them; between "<!-- dtypes -->", "<!-- functions -->" or "<!-- windows -->" and the
// end stand their names.
RenewedPage renew(const std::string& page);

// Runs the examples that generated parts follow through the contract: "line 3: <type>: <what it
// breaks>" of those that do not keep it.
struct CheckedPage {
  int examples = 0;
  std::vector<std::string> failures;
};
CheckedPage check_examples(const std::string& page);

// Layer types of the library that are not among these.
std::vector<std::string> types_without_section(const std::set<std::string>& documented);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_DOCS_LAYER_PAGES_H_
