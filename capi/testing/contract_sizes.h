// Checks of the contract that vary the number of blocks per call.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_SIZES_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_SIZES_H_

#include "testing/contract.h"

namespace sl::testing {

// For each number of blocks that the case lists: a stream created for calls of that many blocks
// gives y, in calls of that many blocks and in calls of one.
Comparison check_call_sizes(const Case& c, const Tensor& y);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_CONTRACT_SIZES_H_
