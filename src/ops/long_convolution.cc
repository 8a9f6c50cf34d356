#include "ops/long_convolution.h"

#include <algorithm>

#include "kernels/complex.h"
#include "kernels/transpose.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// Channels of a group, as many as one cache line holds.
constexpr int64_t kGroup = 16;

}  // namespace

LongConvolution::LongConvolution(Run& run, const float* kernel, int64_t length, int64_t channels)
    : channels_(channels),
      blocks_(ceil_div(length, kBlock)),
      fft_(2 * kBlock),  // two blocks at a time
      spectra_(static_cast<size_t>(checked_product(channels, blocks_, spectrum_floats()))) {
  const auto transform = [&](int64_t begin, int64_t end, float* padded) {
    float* scratch = padded + 2 * kBlock;
    for (int64_t i = begin * blocks_; i < end * blocks_; ++i) {
      const int64_t channel = i / blocks_, first = i % blocks_ * kBlock;
      const int64_t count = std::min(length - first, kBlock);
      kernels::transpose(kernel + first * channels + channel, channels, count, 1, padded, count);
      std::fill(padded + count, padded + 2 * kBlock, 0.0f);
      fft_.forward(padded, reinterpret_cast<complex64*>(spectra_.data() + i * spectrum_floats()),
                   scratch);
    }
  };
  for_ranges_with_scratch(run, channels, 1, 2 * kBlock + fft_.scratch_size(), transform);
}

// Floats of a row. The 16 extra floats let neighbouring rows begin in different cache sets.
int64_t LongConvolution::row_size(int64_t blocks) const { return (blocks + 1) * kBlock + 16; }

int64_t LongConvolution::scratch_size(int64_t blocks) const {
  return checked_sum(checked_product(kGroup, row_size(blocks)),
                     checked_product(blocks + 1, spectrum_floats()), 2 * kBlock,
                     fft_.scratch_size());
}

// Two transforms of each block, and sums of 1, 2, ... products of spectra.
int64_t LongConvolution::flop(int64_t blocks) const {
  return blocks * (2 * fft_.flop() + (4 * blocks + 2) * fft_.spectrum_size());
}

void LongConvolution::apply(Run& run, const Sequence& x, const Sequence& y) const {
  const int64_t groups = ceil_div(channels_, kGroup), blocks = ceil_div(x.time, kBlock);
  run.parallel().count(x.batch * channels_ * flop(blocks),
                       static_cast<int64_t>(spectra_.size() * sizeof(float)));
  for_ranges_with_scratch(run, x.batch * groups, 1, scratch_size(blocks),
                          [&](int64_t begin, int64_t end, float* scratch) {
                            for (int64_t i = begin; i < end; ++i) {
                              const int64_t first = i % groups * kGroup;
                              const int64_t from = i / groups * x.time * channels_ + first;
                              convolve({x.floats() + from, y.floats() + from, first,
                                        std::min(kGroup, channels_ - first), x.time},
                                       scratch);
                            }
                          });
}

void LongConvolution::convolve(const Group& group, float* scratch) const {
  const int64_t blocks = ceil_div(group.steps, kBlock), row = row_size(blocks);
  // The first block of a row is zeros, and the last one is padded with zeros.
  for (int64_t j = 0; j < group.count; ++j) {
    float* to = scratch + j * row;
    std::fill(to, to + kBlock, 0.0f);
    std::fill(to + kBlock + group.steps, to + row, 0.0f);
  }
  float* rows = scratch + kBlock;
  kernels::transpose(group.x, channels_, group.steps, group.count, rows, row);
  for (int64_t j = 0; j < group.count; ++j) {
    convolve_channel(group.first + j, blocks, scratch + j * row, scratch + kGroup * row);
  }
  kernels::transpose(rows, row, group.count, group.steps, group.y, channels_);
}

// Convolves one channel in place: the result replaces the blocks after the first one.
void LongConvolution::convolve_channel(int64_t channel, int64_t blocks, float* row,
                                       float* scratch) const {
  const int64_t size = spectrum_floats();
  const float* kernel = spectra_.data() + channel * blocks_ * size;
  float* spectra = scratch;
  float* sum = spectra + blocks * size;
  float* out = sum + size;
  float* fft_scratch = out + 2 * kBlock;
  for (int64_t i = 0; i < blocks; ++i) {
    fft_.forward(row + i * kBlock, reinterpret_cast<complex64*>(spectra + i * size), fft_scratch);
  }
  for (int64_t i = 0; i < blocks; ++i) {
    kernels::sum_products_complex(spectra + i * size, -size, kernel, size, i + 1,
                                  fft_.spectrum_size(), sum);
    fft_.inverse(reinterpret_cast<const complex64*>(sum), out, fft_scratch);
    // The first half of the result is discarded, since it wraps around.
    std::copy_n(out + kBlock, kBlock, row + (i + 1) * kBlock);
  }
}

}  // namespace sl::ops
