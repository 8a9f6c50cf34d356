// Files that a command writes at its end, known to be writable at its start.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_OUTPUT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_OUTPUT_H_

#include <functional>
#include <string>

namespace sl::cli {

// A file that is there whole or as it was before. What is no regular file (a pipe, /dev/null) is
// written to as it stands.
class OutputFile {
 public:
  // Throws if it cannot be written. Leaves nothing.
  explicit OutputFile(std::string path);

  // Calls write(path of another file) and gives that file its name.
  void write(const std::function<void(const std::string&)>& write) const;

  bool is_special() const { return special_; }

 private:
  std::string path_;    // as given, for errors
  std::string target_;  // what it is a link to
  bool special_ = false;
};

// Lower case, with its dot: ".npy".
std::string extension(const std::string& path);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_OUTPUT_H_
