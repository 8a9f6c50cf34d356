// Inputs whose masks have holes and invalid first steps, for the contract checker.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_MASKS_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_MASKS_H_

#include <functional>
#include <optional>

#include "testing/runner.h"

namespace sl::testing {

// Two copies of one input that differ only in the values of invalid steps.
struct MaskedInputs {
  Input zeros;
  Input poisoned;
};

// Makes first steps, single steps and a range in the middle of the input invalid, and of the
// sequences among its constants. Each batch item gets different ones and keeps at least one valid
// step if it had one. Invalid steps hold zeros in one copy and `pad_value` for the dtype in the
// other. Returns nothing if the input is too short for holes.
std::optional<MaskedInputs> masked_inputs(const Input& input,
                                          const std::function<double(sl_dtype)>& pad_value);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_MASKS_H_
