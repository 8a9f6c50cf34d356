#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace sl::kernels {

// A matrix whose columns are zero but for a short band, such as filters of a filter bank: the bands
// of kGroup columns at a time, widened to equal lengths.
struct Bands {
  static constexpr int64_t kGroup = 4;
  struct Group {
    std::array<int64_t, kGroup> first;  // inputs
    int64_t blocks;                     // of kGroup inputs
    int64_t weights;                    // where those of the first block are
  };

  int64_t inputs = 0;
  int64_t outputs = 0;
  std::vector<Group> groups;
  std::vector<float> weights;  // [block][column][kGroup] of each group
  bool within_row = true;      // whether no block reaches past the inputs
};

// Of a matrix [inputs, outputs].
[[nodiscard]] Bands make_bands(const float* matrix, int64_t inputs, int64_t outputs);

// y = x * matrix, for `rows` rows of x.
void multiply_bands(const float* x, const Bands& bands, int64_t rows, float* y);

namespace reference {

void multiply_bands(const float* x, const Bands& bands, int64_t rows, float* y);

}  // namespace reference
}  // namespace sl::kernels
