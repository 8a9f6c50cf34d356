#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sl {
namespace {

// Tolerance for the rounding of float32 logits and of top_p: a probability that is smaller than
// top_p by no more than this counts as reaching it.
constexpr double kRounding = 1e-6;

// The probability of a token relative to that of the most likely token. The latter has weight 1
// even if its logit is infinite.
double weight_of(float logit, float maximum, double temperature) {
  if (logit == maximum) return 1;
  return std::exp((static_cast<double>(logit) - static_cast<double>(maximum)) / temperature);
}

bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

// The index of the first candidate at which enough(sum of the weights up to it) holds; by default
// the index of the last.
template <typename Enough>
size_t find_weight(std::span<const Candidate> candidates, Enough&& enough) {
  double sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += candidates[i].weight;
    if (enough(sum)) return i;
  }
  return candidates.size() - 1;
}

double sum_of(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.weight;
  return sum;
}

// The shortest prefix of the sorted candidates whose probabilities add up to `top_p`.
std::span<Candidate> keep_top_p(std::span<Candidate> sorted, float top_p) {
  const double target = static_cast<double>(top_p) * sum_of(sorted) * (1 - kRounding);
  return sorted.first(find_weight(sorted, [&](double sum) { return sum >= target; }) + 1);
}

}  // namespace

Logits check_logits(std::span<const float> logits) {
  bool nan = false, likely = false;
  for (const float logit : logits) {
    nan |= logit != logit;
    likely |= logit > -std::numeric_limits<float>::infinity();
  }
  return nan ? Logits::kNaN : likely ? Logits::kGood : Logits::kNoneLikely;
}

int32_t most_likely(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<int32_t>(best);
}

int32_t draw(std::span<const float> logits, const Sampling& sampling, double uniform,
             std::span<Candidate> candidates) {
  const int32_t best = most_likely(logits);
  if (sampling.temperature == 0) return best;
  const float highest = logits[static_cast<size_t>(best)];
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = logits[i];
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
  if (sampling.top_p < 1) kept = keep_top_p(kept, sampling.top_p);
  const double target = uniform * sum_of(kept);
  return kept[find_weight(kept, [&](double sum) { return sum > target; })].token;
}

float log_prob(std::span<const float> logits, int32_t token) {
  const float highest = logits[static_cast<size_t>(most_likely(logits))];
  double sum = 0;
  for (const float logit : logits) sum += weight_of(logit, highest, 1);
  const float logit = logits[static_cast<size_t>(token)];
  const double difference =
      logit == highest ? 0 : static_cast<double>(logit) - static_cast<double>(highest);
  return static_cast<float>(difference - std::log(sum));
}

}  // namespace sl
