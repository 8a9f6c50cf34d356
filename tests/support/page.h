// Pages of documentation that a program writes and a test compares with what it would write.
#ifndef SEQUENCE_LAYERS_TESTS_SUPPORT_PAGE_H_
#define SEQUENCE_LAYERS_TESTS_SUPPORT_PAGE_H_

#include <string>

namespace sl::testing {

// Where the page and the truth part, as "line 3\n  page: ...\n  now:  ...\n"; empty if they do not.
std::string difference(const std::string& page, const std::string& truth);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_SUPPORT_PAGE_H_
