#include "ops/error_feedback.h"

#include <algorithm>
#include <cmath>

#include "kernels/packed.h"
#include "kernels/rank_update.h"

namespace sl::ops {
namespace {

constexpr int64_t kGroup = kernels::kRowGroup;

// Rows that are factored together, and columns of a strip of the lower triangle.
constexpr int64_t kBlock = 96;

// Outputs that are rounded together.
constexpr int64_t kColumns = 256;

// Added to the diagonal, as a share of its mean. It keeps errors from growing where inputs are
// nearly dependent, and matrices from fitting the calibration data alone.
constexpr double kDamping = 0.01;

// A square matrix of which the lower triangle counts.
struct Square {
  double* row(int64_t i) const { return data + i * size; }
  double* data;
  int64_t size;
};

// Scales the rows [begin, end) of the factor, from the last one on, and removes each from those
// before it.
void factor_block(const Square& m, int64_t begin, int64_t end) {
  for (int64_t p = end - 1; p >= begin; --p) {
    double* const from = m.row(p);
    const double inverse = 1 / std::sqrt(from[p]);
    for (int64_t j = 0; j <= p; ++j) from[j] *= inverse;
    for (int64_t i = begin; i < p; ++i) {
      double* const to = m.row(i);
      const double factor = from[i];
      for (int64_t j = 0; j <= i; ++j) to[j] -= factor * from[j];
    }
  }
}

// Factors M = R R^T with an upper triangular R. Row p of the lower triangle becomes column p of R.
void factor(const Square& m) {
  for (int64_t end = m.size; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - kBlock);
    factor_block(m, begin, end);
    for (int64_t row = 0; row < begin; row += kBlock) {
      const int64_t next = std::min(row + kBlock, begin);
      kernels::rank_update(-1.0, m.row(begin) + row, m.size, m.row(begin), m.size, end - begin,
                           next - row, next, m.row(row), m.size);
    }
    end = begin;
  }
}

// Turns the sums into the shares of the error of input q that each input p behind it takes over,
// which come to lie in the upper triangle, at [q, p]. False if there are no inputs to go by.
bool make_shares(const Square& m) {
  double trace = 0;
  for (int64_t p = 0; p < m.size; ++p) trace += m.row(p)[p];
  if (!(trace > 0) || !std::isfinite(trace)) return false;
  const double damping = kDamping * trace / static_cast<double>(m.size);
  for (int64_t p = 0; p < m.size; ++p) m.row(p)[p] += damping;
  factor(m);
  for (int64_t p = 0; p < m.size; ++p) {
    const double* const from = m.row(p);
    for (int64_t q = 0; q < p; ++q) m.row(q)[p] = from[q] / from[p];
  }
  return true;
}

// Rounds some outputs of a matrix.
class Strip {
 public:
  Strip(WeightFormat format, std::span<const float> weights, int64_t begin, const Square& shares,
        bool feeds_back, int64_t first, int64_t count, RoundedMatrix& rounded)
      : format_(format),
        shares_(shares),
        feeds_back_(feeds_back),
        begin_(begin),
        first_(first),
        count_(count),
        rounded_(rounded),
        wanted_(static_cast<size_t>(shares.size * count)),
        errors_(static_cast<size_t>(kGroup * count)),
        group_(static_cast<size_t>(kGroup * count)) {
    for (int64_t p = 0; p < shares.size; ++p)
      std::copy_n(weights.data() + (begin + p) * rounded.outputs + first, count, wanted(p));
    original_ = wanted_;
  }

  void round() {
    for (int64_t p = 0; p < shares_.size; p += kGroup)
      round_group(p, std::min(p + kGroup, shares_.size));
  }

 private:
  double* wanted(int64_t p) { return wanted_.data() + p * count_; }

  void round_group(int64_t begin, int64_t end) {
    std::copy(wanted(begin), wanted(begin) + (end - begin) * count_, group_.begin());
    float* const scales =
        rounded_.scales.data() + (begin_ + begin) / kGroup * rounded_.outputs + first_;
    kernels::group_scales(format_, group_.data(), count_, end - begin, count_, scales);
    for (int64_t p = begin; p < end; ++p) {
      if (feeds_back_) {
        for (int64_t q = begin; q < p; ++q) add_error(q - begin, shares_.row(q)[p], wanted(p));
      }
      round_row(p, p - begin, scales);
    }
    if (!feeds_back_) return;
    kernels::rank_update(1.0, shares_.row(begin) + end, shares_.size, errors_.data(), count_,
                         end - begin, shares_.size - end, count_, wanted(end), count_);
  }

  void add_error(int64_t row, double share, double* to) const {
    const double* const from = errors_.data() + row * count_;
    for (int64_t j = 0; j < count_; ++j) to[j] += share * from[j];
  }

  void round_row(int64_t p, int64_t row, const float* scales) {
    const double low = format_ == WeightFormat::kInt8 ? -127 : -8;
    const double high = format_ == WeightFormat::kInt8 ? 127 : 7;
    int8_t* const out = rounded_.integers.data() + (begin_ + p) * rounded_.outputs + first_;
    const double* const original = original_.data() + p * count_;
    for (int64_t j = 0; j < count_; ++j) {
      const double scale = scales[j];
      // Groups of zeros have a scale of 0, and those with a value that is not finite one of NaN.
      const double ratio = wanted(p)[j] / scale;
      const double integer =
          std::isfinite(ratio) ? std::clamp(std::nearbyint(ratio), low, high) : 0;
      out[j] = static_cast<int8_t>(integer);
      const double error = original[j] - integer * scale;
      errors_[static_cast<size_t>(row * count_ + j)] = std::isfinite(error) ? error : 0;
    }
  }

  WeightFormat format_;
  const Square& shares_;
  bool feeds_back_;
  int64_t begin_, first_, count_;
  RoundedMatrix& rounded_;
  std::vector<double> wanted_;    // the weights with the errors of those before them
  std::vector<double> original_;  // the weights as they are
  std::vector<double> errors_;    // of a group
  std::vector<float> group_;
};

}  // namespace

RoundedMatrix::RoundedMatrix(int64_t matrix_inputs, int64_t matrix_outputs)
    : inputs(matrix_inputs),
      outputs(matrix_outputs),
      scales(static_cast<size_t>((inputs + kGroup - 1) / kGroup * outputs)),
      integers(static_cast<size_t>(inputs * outputs)) {}

void round_with_feedback(WeightFormat format, std::span<const float> weights, int64_t begin,
                         int64_t size, std::vector<double>& moments, RoundedMatrix& rounded) {
  const Square shares{moments.data(), size};
  const bool feeds_back = make_shares(shares);
  for (int64_t first = 0; first < rounded.outputs; first += kColumns) {
    Strip(format, weights, begin, shares, feeds_back, first,
          std::min(kColumns, rounded.outputs - first), rounded)
        .round();
  }
}

}  // namespace sl::ops
