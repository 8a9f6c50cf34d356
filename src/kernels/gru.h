#pragma once

#include <cstdint>

namespace sl::kernels {

// One GRU step that resets after the product, from what the input contributes, z = [r z n], and
// what the carry does, u, each `units` long: n = tanh(zn + sigmoid(zr + ur) un);
// h = (1 - k) n + k h with k = sigmoid(zz + uz).
void gru_cell(const float* z, const float* u, float* h, int64_t units);

namespace reference {

void gru_cell(const float* z, const float* u, float* h, int64_t units);

}  // namespace reference
}  // namespace sl::kernels
