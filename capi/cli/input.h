// Generated inputs of a model, and the options that describe them.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_INPUT_H_
#define SEQUENCE_LAYERS_CAPI_CLI_INPUT_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "testing/runner.h"

namespace sl::cli {

struct InputOptions {
  std::string shape;  // "16,8"; "scalar" for rank 0; empty for the model's own shape
  std::string dtype;  // empty for the model's own dtype, or float32 if a shape is given
  // "source=11,6": time and channels of a sequence, or the dims of an array after the batch.
  std::vector<std::string> constants;
  int max_int = 4;

  // Adds --input, --dtype and --constant, and also --max-int if the command runs the model.
  void add_to(CLI::App& command, bool runs);
};

// The spec given by options, or else the one that the model states.
sl_channel_spec input_spec(const sequence_layers::Layer& layer, const InputOptions& options);

// As input_spec, but returns nothing if neither options nor model give a spec.
std::optional<sl_channel_spec> find_input_spec(const sequence_layers::Layer& layer,
                                               const InputOptions& options);

// Random values from a fixed seed. All batch items but the first end with invalid steps.
testing::Input random_input(const sequence_layers::Layer& layer, const InputOptions& options,
                            int64_t batch, int64_t time);

// Random constants as --constant describes them, and also the other constants that the model
// requires, if it states their shapes. Sequences have `time` steps.
testing::Constants random_constants(const sequence_layers::Layer& layer,
                                    const InputOptions& options, int64_t batch, int64_t time);

// Accepts positive numbers, for counts and durations.
CLI::Validator positive();

// Converts "16,8" to numbers; throws for any other format.
std::vector<int64_t> parse_shape(const std::string& text);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_INPUT_H_
