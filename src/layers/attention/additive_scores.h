// Scores of additive attention: v . tanh(query + key) for each head (Bahdanau et al. 2015). The
// query is made of x, the key of a step of the source and whatever else the layer adds to it.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/weights.h"
#include "ops/linear.h"

namespace sl {

class AdditiveScores {
 public:
  // Takes "v", "query_projection" and "source_projection".
  AdditiveScores(int64_t heads, int64_t units, const WeightScope& weights);

  int64_t inputs() const { return query_.inputs(); }
  int64_t source_channels() const { return source_.inputs(); }
  int64_t width() const { return heads_ * units_; }
  // [rows, width()] in scratch.
  const float* queries(Run& run, const float* x, int64_t rows) const;
  // To [rows, width()].
  void make_keys(Run& run, const float* source, int64_t rows, float* keys) const;

  // Softmax over `time` keys [time, width()] that `mask` lets pass, into weights [heads, time].
  // `hidden` is scratch for [width()].
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
