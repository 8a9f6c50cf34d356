// What a model is run on: a sound or an array, from a file or a pipe.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_SOURCE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_SOURCE_H_

#include <optional>
#include <string>

#include "cli/input.h"
#include "cli/model.h"

namespace sl::cli {

// What was read, in the model's terms.
struct Source {
  std::string name;  // of the file, for readers
  std::string note;  // what was done to its values, if anything
  Input input;
  bool has_batch = true;              // else the file was one sequence without a batch axis
  std::optional<double> sample_rate;  // input steps a second
};

// "-" is standard input. What begins as an .npy file does is one, whatever its name; else a sound.
Source read_source(const Model& model, const std::string& file, const InputOptions& options);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_SOURCE_H_
