// Inputs whose masks have holes and invalid first steps, for the contract checker.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_MASKS_H_
#define SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_MASKS_H_

#include <functional>
#include <optional>

#include "cli/runner.h"

namespace sl::cli {

// One input twice, with different values in its invalid steps.
struct MaskedInputs {
  Input zeros;
  Input poisoned;
};

// The input, and the sequences among its constants, with first steps, single steps and a stretch
// in the middle made invalid, differently for each batch item, which keeps a valid step if it had
// one. Invalid steps hold zeros, or what `pad_value` gives for the dtype. Nothing if the input is
// too short for holes.
std::optional<MaskedInputs> masked_inputs(const Input& input,
                                          const std::function<double(sl_dtype)>& pad_value);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_MASKS_H_
