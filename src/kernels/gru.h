#pragma once

#include <cstdint>

namespace sl::kernels {

// One GRU step that resets after the product, from what the input contributes, z = [r z n], and
// what the carry does, u, the gates of both `stride` apart: n = tanh(zn + sigmoid(zr + ur) un);
// next = (1 - k) n + k h with k = sigmoid(zz + uz). next may be h.
void gru_cell(const float* z, const float* u, int64_t stride, const float* h, float* next,
              int64_t units);

namespace reference {

void gru_cell(const float* z, const float* u, int64_t stride, const float* h, float* next,
              int64_t units);

}  // namespace reference
}  // namespace sl::kernels
