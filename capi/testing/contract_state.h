// Checks of the contract for states. Outputs are compared bit by bit.
//
//   no allocation in steps        steps, reset, save and load neither allocate nor lock
//   reset mid-stream              a stream that was reset gives what a new one gives
//   save and load mid-stream      a saved state continues in its own stream and in another one
//   broken saves are refused      half a save and one of other bytes leave the stream as it was
//   fork mid-stream               a copied state continues as the original does
//   items reset and copied alone  one batch item is reset, or copied, while all others continue
//   state in caller's memory      a state in memory of the caller's gives what any other gives
//   max_length is the end         a stream takes max_length steps; it refuses one more, unchanged
//   constants prepared before     sl_state_prepare computes what the first step would compute
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_STATE_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_STATE_H_

#include <string>
#include <vector>

#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {

struct StateCheck {
  std::string name;
  Comparison (*run)(const Layer& layer, const Input& input);
  bool with_holes = false;  // whether to run the check again on masks with holes
};

const std::vector<StateCheck>& state_checks();

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_STATE_H_
