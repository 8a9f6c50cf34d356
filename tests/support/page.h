// Compares generated pages of documentation with the files in the repository.
#ifndef SEQUENCE_LAYERS_TESTS_SUPPORT_PAGE_H_
#define SEQUENCE_LAYERS_TESTS_SUPPORT_PAGE_H_

#include <string>

namespace sl::testing {

// The first difference, as "line 3\n  page: ...\n  now:  ...\n"; empty if there is none.
std::string difference(const std::string& page, const std::string& truth);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_SUPPORT_PAGE_H_
