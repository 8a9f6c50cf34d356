// Reads complex weights, and discretizes continuous systems x' = A x + B u in double precision.
#pragma once

#include <cmath>
#include <complex>
#include <utility>
#include <vector>

#include "core/config.h"
#include "layers/weights.h"

namespace sl {

using complex128 = std::complex<double>;

// Reads a weight of `shape` whose additional last axis has the real and the imaginary part.
inline std::vector<complex128> complex_weights(const WeightScope& weights, const char* name,
                                               const Shape& shape) {
  Shape pairs = shape;
  pairs.push_back(2);
  const std::vector<float> parts = weights.floats(name, pairs);
  std::vector<complex128> out(parts.size() / 2);
  for (size_t i = 0; i < out.size(); ++i) out[i] = {parts[2 * i], parts[2 * i + 1]};
  return out;
}

// The number of channels, which the weight "d" implies.
inline int64_t channels_of(const WeightScope& weights) {
  return weights.get("d", {kAnySize}).shape[0];
}

enum class Discretization { kZoh, kBilinear };

inline Discretization discretization(Config& config) {
  return static_cast<Discretization>(config.choice("discretization", {"zoh", "bilinear"}, 0));
}

// Discretizes one diagonal value: returns its factor and the factor of its input.
inline std::pair<complex128, complex128> discretize(complex128 a, double step,
                                                    Discretization method) {
  if (method == Discretization::kBilinear) {
    const complex128 inverse = 1.0 / (1.0 - 0.5 * step * a);
    return {(1.0 + 0.5 * step * a) * inverse, step * inverse};
  }
  const complex128 factor = std::exp(step * a);
  return {factor, a == 0.0 ? step : (factor - 1.0) / a};
}

}  // namespace sl
