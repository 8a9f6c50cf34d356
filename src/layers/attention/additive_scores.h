// Scores of additive attention: v . tanh(query + key) for each head (Bahdanau et al. 2015). The
// query is a projection of x, the key a projection of a source step to which a layer may add.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/weights.h"
#include "ops/linear.h"

namespace sl {

class AdditiveScores {
 public:
  // Reads the weights "v", "query_projection" and "source_projection".
  AdditiveScores(int64_t heads, int64_t units, const WeightScope& weights);

  int64_t inputs() const { return query_.inputs(); }
  int64_t source_channels() const { return source_.inputs(); }
  int64_t width() const { return heads_ * units_; }
  // Projects x to queries [rows, width()] in scratch.
  const float* queries(Run& run, const float* x, int64_t rows) const;
  // Projects steps of the source to keys [rows, width()].
  void make_keys(Run& run, const float* source, int64_t rows, float* keys) const;

  // Computes weights [heads, time]: the softmax of the scores over the keys [time, width()] that
  // are valid in `mask`. `hidden` is scratch [width()].
  void weigh(const float* query, const float* keys, const uint8_t* mask, int64_t time,
             float* hidden, float* weights) const;

 private:
  int64_t heads_;
  int64_t units_;
  std::vector<float> v_;  // [heads, units]
  ops::Linear query_;
  ops::Linear source_;
  std::vector<float> source_bias_;
};

}  // namespace sl
