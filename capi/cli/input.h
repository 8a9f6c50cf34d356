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
  std::string shape;                   // "16,8"; "scalar" for rank 0; empty: the model's own
  std::string dtype;                   // empty: the model's own, float32 with a given shape
  std::vector<std::string> constants;  // "source=11,6": time, then channels
  int max_int = 4;

  // Adds --input, --dtype, and where the command runs the model also --constant and --max-int.
  void add_to(CLI::App& command, bool runs);
};

// The given spec, else the one that the model tells.
sl_channel_spec input_spec(const sl_layer* layer, const InputOptions& options);

// The same, but nothing if neither tells.
std::optional<sl_channel_spec> find_input_spec(const sl_layer* layer, const InputOptions& options);

// Random values (fixed seed), masked at the end of all batch items but the first.
Input random_input(const sl_layer* layer, const InputOptions& options, int64_t batch, int64_t time);

// Random sequences as --constant describes them.
Constants random_constants(const InputOptions& options, int64_t batch);

// For options that are counts or durations.
CLI::Validator positive();

// "16,8" to numbers; throws if it is anything else.
std::vector<int64_t> parse_shape(const std::string& text);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_INPUT_H_
