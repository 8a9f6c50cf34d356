// The input of `sl run`: a sound or an array, from a file or a pipe.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_SOURCE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_SOURCE_H_

#include <optional>
#include <string>

#include "cli/input.h"
#include "testing/model.h"

namespace sl::cli {

// The contents of the file, converted to the model's input.
struct Source {
  std::string name;  // the file's name for titles and messages
  std::string note;  // conversions of its values that the user should know of
  testing::Input input;
  bool has_batch = true;              // false if the file held one sequence without a batch axis
  std::optional<double> sample_rate;  // input steps per second
};

// Reads a file, or standard input for "-". Contents that begin as an .npy file does are read as
// one, whatever the file's name; all others are read as a sound.
Source read_source(const testing::Model& model, const std::string& file,
                   const InputOptions& options);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_SOURCE_H_
