// Checks of the contract for the slots of a state, each of which is at its own position in its own
// stream.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_SLOTS_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_SLOTS_H_

#include "testing/compare.h"
#include "testing/runner.h"

namespace sl::testing {

// Serves streams of the input, which begin at different times, in the slots of two states: steps
// subsets of them in changing order, restarts some, moves some to other slots and to the other
// state, and saves some, steps them in a state of their own and loads them again. Each must give
// the bits that it gives alone, without heap calls or locks. With `garbage`, one more stream holds
// NaN.
Comparison check_slots(const Layer& layer, const Input& input, const Stepper::Options& options,
                       bool garbage);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_SLOTS_H_
