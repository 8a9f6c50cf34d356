// The C ABI as four texts tell it: the header, the table of symbols, what nm says of the built
// library, and the recorded ABI baseline.
#ifndef SEQUENCE_LAYERS_TESTS_ABI_ABI_TABLE_H_
#define SEQUENCE_LAYERS_TESTS_ABI_ABI_TABLE_H_

#include <map>
#include <string>
#include <vector>

namespace sl::testing {

// Version of each function; empty where the text gives none.
using Versions = std::map<std::string, std::string>;

struct AbiTexts {
  std::string header;
  std::string table;     // capi/symbols.txt
  std::string nm;        // nm -D --with-symbol-versions
  std::string baseline;  // packaging/*.abi
};

// Each says what is wrong with the text itself in `faults`.
Versions versions_in_header(const std::string& header, std::vector<std::string>* faults);
Versions versions_in_table(const std::string& table, std::vector<std::string>* faults);
Versions versions_in_nm(const std::string& nm);
Versions versions_in_baseline(const std::string& baseline);

// What the four do not agree on, and what is wrong with one of them; empty if all is well.
std::vector<std::string> abi_faults(const AbiTexts& texts);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_ABI_ABI_TABLE_H_
