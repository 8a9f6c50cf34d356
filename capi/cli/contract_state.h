// Checks of the contract for states: reset, save and load, fork, caller's memory, no allocation.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_STATE_H_
#define SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_STATE_H_

#include <string>
#include <vector>

#include "cli/compare.h"
#include "cli/runner.h"

namespace sl::cli {

struct StateCheck {
  std::string name;
  Comparison (*run)(const sl_layer* layer, const Input& input);
  bool with_holes = false;  // whether to run the check again on masks with holes
};

const std::vector<StateCheck>& state_checks();

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_STATE_H_
