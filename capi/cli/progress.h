// How far a long run is.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_PROGRESS_H_
#define SEQUENCE_LAYERS_CAPI_CLI_PROGRESS_H_

#include <chrono>

namespace sl::cli {

// On stderr, only where somebody watches, and only if it takes a while.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `share` of the whole is done.
  void show(double share);
  // Leaves an empty line, for what is printed next.
  void clear();

 private:
  bool watched_;
  int percent_ = -1;  // drawn; none if negative
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_PROGRESS_H_
