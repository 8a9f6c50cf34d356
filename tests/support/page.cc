#include "support/page.h"

#include <sstream>

namespace sl::testing {

std::string difference(const std::string& page, const std::string& truth) {
  if (page == truth) return "";
  std::ostringstream out;
  std::istringstream old_lines(page), new_lines(truth);
  std::string was, is;
  for (int line = 1;; ++line) {
    const bool more_old = static_cast<bool>(std::getline(old_lines, was));
    const bool more_new = static_cast<bool>(std::getline(new_lines, is));
    if (!more_old && !more_new) break;
    if (more_old == more_new && was == is) continue;
    out << "line " << line << "\n  page: " << (more_old ? was : "-")
        << "\n  now:  " << (more_new ? is : "-") << "\n";
    if (more_old != more_new) break;
  }
  return out.str().empty() ? "the last line has no end\n" : out.str();
}

}  // namespace sl::testing
