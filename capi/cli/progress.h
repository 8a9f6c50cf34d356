// A progress bar for long runs.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_PROGRESS_H_
#define SEQUENCE_LAYERS_CAPI_CLI_PROGRESS_H_

#include <chrono>

namespace sl::cli {

// Prints to stderr, only if it is a terminal and only once the run has taken some time.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Shows the share of the work that is done.
  void show(double share);
  // Clears the line for other output.
  void clear();

 private:
  bool watched_;
  int percent_ = -1;  // percentage drawn last; negative if none
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_PROGRESS_H_
