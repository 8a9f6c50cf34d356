// The made-up input of a model: options that describe it, and its making.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_INPUT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_INPUT_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/runner.h"

namespace sl::cli {

struct InputOptions {
  std::string shape;  // "16,8"; "scalar" for rank 0; empty: the model's own
  std::string dtype;  // empty: the model's own, float32 with a given shape
  // "source=11,6": of a sequence time, then channels; of an array the sizes after its batch.
  std::vector<std::string> constants;
  int max_int = 4;

  // Adds --input, --dtype, --constant, and where the command runs the model also --max-int.
  void add_to(CLI::App& command, bool runs);
};

// The given spec, else the one that the model tells.
sl_channel_spec input_spec(const sl_layer* layer, const InputOptions& options);

// The same, but nothing if neither tells.
std::optional<sl_channel_spec> find_input_spec(const sl_layer* layer, const InputOptions& options);

// Random values (fixed seed), masked at the end of all batch items but the first.
Input random_input(const sl_layer* layer, const InputOptions& options, int64_t batch, int64_t time);

// Random constants as --constant describes them, and those that the model needs beside them, if it
// says of what shape: of `time` steps.
Constants random_constants(const sl_layer* layer, const InputOptions& options, int64_t batch,
                           int64_t time);

// For options that are counts or durations.
CLI::Validator positive();

// "16,8" to numbers; throws if it is anything else.
std::vector<int64_t> parse_shape(const std::string& text);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_INPUT_H_
