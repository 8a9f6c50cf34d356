#include "ops/input_record.h"

#include <algorithm>
#include <cmath>

#include "kernels/rank_update.h"

namespace sl::ops {
namespace {

constexpr int64_t kRows = 64;  // that are added together

// Columns of a strip of the lower triangle.
constexpr int64_t kStrip = 96;

}  // namespace

InputMoments::InputMoments(int64_t begin, int64_t size, int64_t stride)
    : begin_(begin),
      size_(size),
      stride_(stride),
      skipped_(stride - 1),
      rows_(static_cast<size_t>(kRows * size)),
      sums_(static_cast<size_t>(size * size)) {}

size_t InputMoments::bytes(int64_t size) {
  return static_cast<size_t>(checked_product(size, checked_sum(size, kRows), sizeof(double)));
}

void InputMoments::add(const float* x, int64_t x_stride, int64_t rows) {
  for (int64_t row = 0; row < rows; ++row) {
    if (++skipped_ < stride_) continue;
    const float* const from = x + row * x_stride + begin_;
    // Rows of invalid steps may hold anything.
    if (!std::all_of(from, from + size_, [](float value) { return std::isfinite(value); }))
      continue;
    skipped_ = 0;
    std::copy_n(from, size_, rows_.data() + waiting_ * size_);
    if (++waiting_ == kRows) flush();
  }
}

void InputMoments::flush() {
  for (int64_t begin = 0; begin < size_; begin += kStrip) {
    const int64_t end = std::min(begin + kStrip, size_);
    kernels::rank_update(1.0, rows_.data() + begin, size_, rows_.data(), size_, waiting_,
                         end - begin, end, sums_.data() + begin * size_, size_);
  }
  waiting_ = 0;
}

std::vector<double> InputMoments::take() {
  flush();
  return std::move(sums_);
}

void InputRecord::add(int64_t index, const float* x, int64_t x_stride, int64_t rows) {
  rows_[static_cast<size_t>(index)] += rows;
  for (const Watched& watched : watched_) {
    if (watched.index == index) watched.moments->add(x, x_stride, rows);
  }
}

}  // namespace sl::ops
