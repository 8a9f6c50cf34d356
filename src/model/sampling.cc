#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sl {
namespace {

float value_of(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
}

// Relative to that of the most likely token, which is 1 even where logits are infinite.
double weight_of(float logit, float most, double temperature) {
  if (logit == most) return 1;
  return std::exp((static_cast<double>(logit) - static_cast<double>(most)) / temperature);
}

bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

// The first candidate at which the weights so far exceed `target`, or else the last.
size_t find_weight(std::span<const Candidate> candidates, double target) {
  double sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += candidates[i].weight;
    if (sum > target) return i;
  }
  return candidates.size() - 1;
}

double sum_of(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.weight;
  return sum;
}

}  // namespace

int32_t most_likely(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (value_of(logits[i]) > value_of(logits[best])) best = i;
  }
  return static_cast<int32_t>(best);
}

int32_t draw(std::span<const float> logits, const Sampling& sampling, double uniform,
             std::span<Candidate> candidates) {
  const auto most = static_cast<size_t>(most_likely(logits));
  if (sampling.temperature == 0) return static_cast<int32_t>(most);
  const float highest = value_of(logits[most]);
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = value_of(logits[i]);
    candidates[i] = {static_cast<int32_t>(i), logit,
                     weight_of(logit, highest, static_cast<double>(sampling.temperature))};
  }
  std::span<Candidate> kept = candidates.first(logits.size());
  const bool cuts = sampling.top_k > 0 && sampling.top_k < static_cast<int64_t>(kept.size());
  if (cuts || sampling.top_p < 1) {
    const size_t count = cuts ? static_cast<size_t>(sampling.top_k) : kept.size();
    std::partial_sort(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(count), kept.end(),
                      before);
    kept = kept.first(count);
  }
  if (sampling.top_p < 1) {
    kept = kept.first(find_weight(kept, static_cast<double>(sampling.top_p) * sum_of(kept)) + 1);
  }
  return kept[find_weight(kept, uniform * sum_of(kept))].token;
}

float log_prob(std::span<const float> logits, int32_t token) {
  const float highest = value_of(logits[static_cast<size_t>(most_likely(logits))]);
  double sum = 0;
  for (const float logit : logits) sum += weight_of(value_of(logit), highest, 1);
  const float logit = value_of(logits[static_cast<size_t>(token)]);
  const double difference =
      logit == highest ? 0 : static_cast<double>(logit) - static_cast<double>(highest);
  return static_cast<float>(difference - std::log(sum));
}

}  // namespace sl
