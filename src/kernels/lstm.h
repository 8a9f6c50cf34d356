#pragma once

#include <cstdint>

namespace sl::kernels {

// One LSTM step from the pre-activations z = [i f g o], `stride` apart:
// c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c).
void lstm_cell(const float* z, int64_t stride, float* c, float* h, int64_t units);

namespace reference {

void lstm_cell(const float* z, int64_t stride, float* c, float* h, int64_t units);

}  // namespace reference
}  // namespace sl::kernels
