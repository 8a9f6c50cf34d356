// The model of a command: its directory, and how its weights are held.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_MODEL_OPTION_H_
#define SEQUENCE_LAYERS_CAPI_CLI_MODEL_OPTION_H_

#include <string>

#include "cli/commands.h"
#include "testing/model.h"

namespace sl::cli {

struct ModelOption {
  std::string directory;
  std::string weight_format;  // empty: as the model has them
  std::string kv_format;      // empty: float32

  // Adds the positional argument "model", --weight-format and --kv-format.
  void add_to(CLI::App& command) {
    command.add_option("model", directory, "Model directory")->required()->type_name(kDirectory);
    command.add_option("--weight-format", weight_format,
                       "Hold matrices as float32, bfloat16, int8 or int4; PATTERN=FORMAT for "
                       "tensors by name, separated by commas");
    command.add_option("--kv-format", kv_format,
                       "Cache keys and values as float32, bfloat16 or int8");
  }
  // The strings are those of this object.
  sl_layer_options layer_options() const {
    sl_layer_options options = SL_LAYER_OPTIONS_INIT;
    if (!weight_format.empty()) options.weight_format = weight_format.c_str();
    if (!kv_format.empty()) options.kv_format = kv_format.c_str();
    return options;
  }
  testing::Model open() const {
    const sl_layer_options options = layer_options();
    return testing::open_model(directory, &options);
  }
};

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_MODEL_OPTION_H_
