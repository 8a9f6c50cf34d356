// One step of a GRU cell: gates [3, units], state h [units], in place or not.
#pragma once

#include <cstdint>

#include "kernels/recurrent_step.h"

namespace sl::kernels {

// z = bias + x Wx, u = recurrent bias + h Wh, gates [r z n], then gru_cell for the units of the
// step. Its results are those of gemm_packed and gru_cell, bit for bit.
void gru_step(const RecurrentStep& step);
// The function for this CPU that gru_step calls, for callers that cannot afford to look it up.
RecurrentStepFunction gru_step_function();

// A GRU step that applies the reset gate after the recurrent product. z = [zr zz zn] are the
// input's contributions to the gates, u = [ur uz un] the state's, each gate `units` floats and
// `stride` from the next: n = tanh(zn + sigmoid(zr + ur) * un), k = sigmoid(zz + uz), next = (1 -
// k) * n + k * h. next may be h.
void gru_cell(const float* z, const float* u, int64_t stride, const float* h, float* next,
              int64_t units);

namespace reference {

void gru_cell(const float* z, const float* u, int64_t stride, const float* h, float* next,
              int64_t units);

}  // namespace reference
}  // namespace sl::kernels
