// Broadcasting several sequences together and combining them (reference:
// utils.sequence_broadcast_combine).
#pragma once

#include <span>

#include "core/config.h"
#include "core/run.h"

namespace sl::ops {

// From the left to the right: a - b - c. kPlus, which no config names, is kAdd but that the sum of
// bools is a bool.
enum class Combination {
  kStack,
  kConcat,
  kAdd,
  kMean,
  kProduct,
  kSubtract,
  kDivide,
  kMaximum,
  kMinimum,
  kPlus
};

// Reads the config field "combination".
Combination read_combination(Config& config);

ChannelSpec combined_spec(Combination combination, std::span<const ChannelSpec> specs);

// Combines inputs of the same batch and time. A step of the result is valid if it is valid in all
// inputs.
Sequence combine(Run& run, Combination combination, std::span<const Sequence> inputs);

// y = y + x as combine with kPlus computes it, for x of y's batch and time; false, and nothing is
// done, if the sum has another dtype or shape than y.
bool add_in_place(Run& run, const Sequence& y, const Sequence& x);

}  // namespace sl::ops
