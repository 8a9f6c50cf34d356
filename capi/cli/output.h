// Files that a command writes at its end but checks for writability at its start.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_OUTPUT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_OUTPUT_H_

#include <functional>
#include <string>

namespace sl::cli {

// A file that is replaced as a whole or not at all. A pipe or device is written to directly.
class OutputFile {
 public:
  // Throws if the file cannot be written. Leaves no file behind.
  explicit OutputFile(std::string path);

  // Calls write(path) with the path of a temporary file, and then renames that file.
  void write(const std::function<void(const std::string&)>& write) const;

  bool is_special() const { return special_; }

 private:
  std::string path_;    // as given by the user, for error messages
  std::string target_;  // the path that links resolve to
  bool special_ = false;
};

// The extension in lower case with its dot, such as ".npy".
std::string extension(const std::string& path);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_OUTPUT_H_
