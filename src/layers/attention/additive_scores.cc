#include "layers/attention/additive_scores.h"

#include "kernels/pointwise.h"
#include "kernels/reduce.h"

namespace sl {
namespace {

// The score of an invalid key: its weight is 0 beside any valid key. If no key is valid, all
// weights are equal.
constexpr float kInvalidScore = -1e9f;

ops::Linear read_projection(const WeightScope& weights, const char* name, const Shape& v) {
  return weights.child(name).matrix("kernel", {kAnySize, v[0] * v[1]});
}

}  // namespace

AdditiveScores::AdditiveScores(int64_t heads, int64_t units, const WeightScope& weights)
    : heads_(heads),
      units_(units),
      v_(weights.floats("v", {heads, units})),
      query_(read_projection(weights, "query_projection", {heads, units})),
      source_(read_projection(weights, "source_projection", {heads, units})),
      source_bias_(weights.child("source_projection").floats("bias", {heads * units})) {}

const float* AdditiveScores::queries(Run& run, const float* x, int64_t rows) const {
  auto* out = run.scratch<float>(rows, width());
  query_.apply(run, x, inputs(), rows, nullptr, false, out, width());
  return out;
}

void AdditiveScores::make_keys(Run& run, const float* source, int64_t rows, float* keys) const {
  run.parallel().count(rows * width());  // the bias
  source_.apply(run, source, source_channels(), rows, source_bias_.data(), false, keys, width());
}

void AdditiveScores::weigh(const float* query, const float* keys, const uint8_t* mask, int64_t time,
                           float* hidden, float* weights) const {
  for (int64_t j = 0; j < time; ++j) {
    if (mask[j]) {
      kernels::binary(kernels::Binary::kAdd, query, keys + j * width(), hidden, width());
      kernels::unary(kernels::Unary::kTanh, hidden, hidden, width(), 0);
    }
    for (int64_t n = 0; n < heads_; ++n) {
      const int64_t head = n * units_;
      weights[n * time + j] =
          mask[j] ? kernels::dot(hidden + head, v_.data() + head, units_) : kInvalidScore;
    }
  }
  if (time == 0) return;
  for (int64_t n = 0; n < heads_; ++n)
    kernels::softmax(weights + n * time, weights + n * time, time);
}

}  // namespace sl
