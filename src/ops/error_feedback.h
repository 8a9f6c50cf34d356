// Rounding of weights with error feedback: the error of each weight is made up for by those of the
// inputs behind it, as far as the inputs of the product go together (Frantar et al. 2022, GPTQ).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/weight_format.h"

namespace sl::ops {

// A matrix [inputs, outputs] in a quantized format: scales for each group of 32 inputs and output,
// and integers.
struct RoundedMatrix {
  RoundedMatrix(int64_t inputs, int64_t outputs);

  int64_t inputs, outputs;
  std::vector<float> scales;
  std::vector<int8_t> integers;
};

// Rounds the inputs [begin, begin + size) of a matrix with the given weights [inputs, outputs];
// begin is a multiple of 32. `moments` is the lower triangle of the sums of products of those
// inputs, [size, size], and is overwritten. Sums of zero, as inputs that were never seen have them,
// make the rounding that to the nearest.
void round_with_feedback(WeightFormat format, std::span<const float> weights, int64_t begin,
                         int64_t size, std::vector<double>& moments, RoundedMatrix& rounded);

}  // namespace sl::ops
