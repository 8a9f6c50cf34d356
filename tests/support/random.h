// Random values for tests.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace sl::testing {

inline std::vector<float> normal_floats(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<size_t>(count));
  for (float& value : out) value = normal(generator);
  return out;
}

}  // namespace sl::testing
