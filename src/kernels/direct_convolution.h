// Convolution of one row of positions, read where the inputs lie, without gathering them first.
#pragma once

#include <cstdint>
#include <limits>

namespace sl::kernels {

// The inputs of a position are `run_count` runs of `depth` contiguous floats each. Run i of
// position p begins at runs[i] + offset + p * x_step; a null run is all zero. y gets `filters`
// floats at y + p * y_step.
struct ConvolutionRow {
  const float* const* runs;
  int64_t run_count;
  int64_t depth;
  int64_t offset;
  int64_t x_step;
  int64_t count;
  const float* weights;
  const float* bias;  // [filters], padded with zeros to a multiple of panel_width() of gemm.h
  float* y;
  int64_t y_step;
  int64_t filters;
  // Outputs that are smaller become this.
  float minimum = -std::numeric_limits<float>::infinity();
  // Whether outputs go to memory past the caches. Then y is aligned to 64 bytes, and y_step a
  // multiple of 16.
  bool streams = false;
  // Inputs that are needed later and lie in no near cache, from position to position as the runs;
  // null: none. They are only prefetched.
  const float* ahead = nullptr;
};

// Filters of which convolve_dot computes at most so many.
constexpr int64_t kMaxDotFilters = 8;
// Minimum depth of the runs of convolve_dot.
constexpr int64_t kMinDotDepth = 16;

// Multiplies each input with a vector of filters. The weights are [run_count * depth, filters],
// packed by `pack` of gemm.h. For any number of filters.
void convolve_broadcast(const ConvolutionRow& row);

// Multiplies vectors of inputs with those of each filter: faster for few filters and deep runs. The
// weights are [filters, run_count * depth].
void convolve_dot(const ConvolutionRow& row);

// With both, the result of a position does not depend on the number of positions: it is the same,
// bit for bit, in any row.

namespace reference {

// The weights are [run_count * depth, filters], not packed; adds in double.
void convolve_row(const ConvolutionRow& row);

}  // namespace reference
}  // namespace sl::kernels
