// The part of the contract that concerns how many blocks one call takes.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_SIZES_H_
#define SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_SIZES_H_

#include "cli/contract.h"

namespace sl::cli {

// Streams made for calls of so many blocks, each of the case's sizes, give y in calls of as many
// and of one.
Comparison check_call_sizes(const Case& c, const Tensor& y);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_CONTRACT_SIZES_H_
