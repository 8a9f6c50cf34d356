// One step of a gated recurrent layer for one batch item: products of input and state with their
// weights, and the gates, in one call.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Steps whose units are a multiple of column_group() can be computed in parts, each with a multiple
// of this number of units.
constexpr int64_t kPartUnits = 32;

// Weights are packed as for gemm_packed. The columns of the gates lie side by side, `units` each.
struct RecurrentStep {
  const float* x;  // the input, or null if z has its product
  int64_t inputs;
  const float* input_weights;
  const float* input_bias;  // may be null
  // The gates' sums of the input, [gates, units]; overwritten if x is given.
  float* z;
  const float* h;
  const float* recurrent_weights;
  const float* recurrent_bias;  // GRU
  int64_t units;
  float* u;       // scratch [gates, units] (GRU)
  float* c;       // replaced by the next one (LSTM)
  float* next_h;  // not h
  // The units to compute: all of them or a part.
  int64_t begin;
  int64_t end;
  // Whether to begin with the last units. Steps that take turns find in the cache what the step
  // before has read last.
  bool backwards;
};

using RecurrentStepFunction = void (*)(const RecurrentStep& step);

}  // namespace sl::kernels
