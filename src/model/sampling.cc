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

// The number of sorted candidates whose probabilities add up to `top_p`, the fewest.
size_t count_of_top_p(std::span<const Candidate> sorted, float top_p) {
  const double target = static_cast<double>(top_p) * sum_of(sorted) * (1 - kRounding);
  return find_weight(sorted, [&](double sum) { return sum >= target; }) + 1;
}

// Sorts the `count` most likely candidates to the front.
void sort_first(std::span<Candidate> candidates, size_t count) {
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count),
                    candidates.end(), before);
}

// The first `count` candidates, the most likely ones, and, if `ties` are wanted, those of the
// others that are as likely as the last of them.
std::span<Candidate> keep_first(std::span<Candidate> candidates, size_t count, bool ties) {
  if (!ties) return candidates.first(count);
  const float least = candidates[count - 1].logit;
  const auto rest = candidates.subspan(count);
  const auto end = std::partition(rest.begin(), rest.end(), [&](const Candidate& candidate) {
    return candidate.logit == least;
  });
  return candidates.first(count + static_cast<size_t>(end - rest.begin()));
}

// The candidates that top_k and top_p keep, by their weights.
std::span<Candidate> keep(std::span<Candidate> candidates, const Sampling& sampling) {
  const bool ties = sampling.temperature_last, by_sum = sampling.top_p < 1;
  std::span<Candidate> kept = candidates;
  if (sampling.top_k > 0 && sampling.top_k < std::ssize(kept)) {
    const auto count = static_cast<size_t>(sampling.top_k);
    sort_first(kept, count);
    kept = keep_first(kept, count, ties);
  } else if (by_sum) {
    sort_first(kept, kept.size());
  }
  return by_sum ? keep_first(kept, count_of_top_p(kept, sampling.top_p), ties) : kept;
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
  const auto temperature = static_cast<double>(sampling.temperature);
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = logits[i];
    candidates[i] = {static_cast<int32_t>(i), logit,
                     weight_of(logit, highest, sampling.temperature_last ? 1 : temperature)};
  }
  const std::span<Candidate> kept = keep(candidates.first(logits.size()), sampling);
  if (sampling.temperature_last) {
    for (Candidate& one : kept) one.weight = weight_of(one.logit, highest, temperature);
  }
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
