// Reads the C ABI from four texts: the header, the table of symbols, the output of nm for the built
// library, and the recorded ABI baseline.
#ifndef SEQUENCE_LAYERS_TESTS_ABI_ABI_TABLE_H_
#define SEQUENCE_LAYERS_TESTS_ABI_ABI_TABLE_H_

#include <map>
#include <string>
#include <vector>

namespace sl::testing {

// Version of each function; empty if the text does not give it.
using Versions = std::map<std::string, std::string>;

struct AbiTexts {
  std::string header;
  std::string table;     // capi/symbols.txt
  std::string nm;        // nm -D --with-symbol-versions
  std::string baseline;  // packaging/*.abi
};

// These functions also add errors in the text itself to `faults`.
Versions versions_in_header(const std::string& header, std::vector<std::string>* faults);
Versions versions_in_table(const std::string& table, std::vector<std::string>* faults);
Versions versions_in_nm(const std::string& nm);
Versions versions_in_baseline(const std::string& baseline);

// What the header says about lifecycles other than the table does: deprecated functions stand
// behind SL_DEPRECATED with their successor, unstable ones have [unstable] in their comment, and no
// function is of a later version than the header.
std::vector<std::string> lifecycle_faults(const std::string& header, const std::string& table);

// Disagreements between the four texts, and errors in each; empty if there are none.
std::vector<std::string> abi_faults(const AbiTexts& texts);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_ABI_ABI_TABLE_H_
