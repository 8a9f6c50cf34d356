// The receptive field that execution shows: inputs are changed, one step at a time.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_PROBE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_PROBE_H_

#include <functional>
#include <string>

#include "cli/compare.h"
#include "cli/runner.h"

namespace sl::cli {

struct Probe {
  std::string reason;  // an output step that changed with an input step outside its field
  std::string note;    // declared and observed field
};

// Only for floating-point inputs. Uses a random, fully valid input of the input's channel spec that
// is long enough to see both ends of the field, up to a limit.
// `progress` is told the share of it that is done.
Probe probe_receptive_field(const sl_layer* layer, const Input& input, Tolerance tolerance,
                            const std::function<void(double)>& progress = nullptr);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_PROBE_H_
