#include "cli/progress.h"

#include <unistd.h>

#include <cstdio>
#include <string>

namespace sl::cli {

ProgressBar::ProgressBar() : watched_(isatty(STDERR_FILENO) != 0) {}

void ProgressBar::show(double share) {
  if (!watched_) return;
  const auto percent = static_cast<int>(100 * share);
  const auto elapsed = std::chrono::steady_clock::now() - start_;
  if (percent == percent_ || elapsed < std::chrono::milliseconds(500)) return;
  percent_ = percent;
  const std::string bar(static_cast<size_t>(percent * 40 / 100), '#');
  std::fprintf(stderr, "\r[%-40s] %3d%%", bar.c_str(), percent);
}

void ProgressBar::clear() {
  if (percent_ >= 0) std::fprintf(stderr, "\r\033[K");
  percent_ = -1;
}

}  // namespace sl::cli
