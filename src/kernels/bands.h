// Y = X M for a matrix M whose columns are zero outside a short band: X [rows, inputs],
// M [inputs, outputs], Y [rows, outputs]; not in place.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace sl::kernels {

// A matrix [inputs, outputs] whose columns are zero outside a short band, as those of a filter bank
// are. Only the bands are stored, in groups of kGroup columns whose bands are widened to one
// length.
struct Bands {
  static constexpr int64_t kGroup = 4;
  struct Group {
    std::array<int64_t, kGroup> first;  // the input at which each column's band begins
    int64_t blocks;                     // length of the bands in units of kGroup inputs
    int64_t weights;                    // offset of the group's first weight
  };

  int64_t inputs = 0;
  int64_t outputs = 0;
  std::vector<Group> groups;
  std::vector<float> weights;  // for each group [blocks, kGroup columns, kGroup inputs]
  bool within_row = true;      // no widened band reaches past the inputs
};

// Finds the bands of the row-major matrix [inputs, outputs].
[[nodiscard]] Bands make_bands(const float* matrix, int64_t inputs, int64_t outputs);

// y = x * matrix, for x [rows, inputs] and y [rows, outputs]. y must not overlap x.
void multiply_bands(const float* x, const Bands& bands, int64_t rows, float* y);

namespace reference {

void multiply_bands(const float* x, const Bands& bands, int64_t rows, float* y);

}  // namespace reference
}  // namespace sl::kernels
