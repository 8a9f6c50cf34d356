// One step of an LSTM cell: gates [4, units], state c and h [units], both in place.
#pragma once

#include <cstdint>

#include "kernels/recurrent_step.h"

namespace sl::kernels {

// z = bias + x Wx + h Wh, gates [i f g o], then lstm_cell for the units of the step. Its results
// are those of gemm_packed and lstm_cell, bit for bit.
void lstm_step(const RecurrentStep& step);
// The function for this CPU that lstm_step calls, for callers that cannot afford to look it up.
RecurrentStepFunction lstm_step_function();

// From the gates' pre-activations z = [i f g o], each `units` floats and `stride` from the next:
// c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c).
void lstm_cell(const float* z, int64_t stride, float* c, float* h, int64_t units);

namespace reference {

void lstm_cell(const float* z, int64_t stride, float* c, float* h, int64_t units);

}  // namespace reference
}  // namespace sl::kernels
