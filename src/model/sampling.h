// Samples a token from logits.
#pragma once

#include <cstdint>
#include <span>

namespace sl {

struct Sampling {
  float temperature = 0;  // 0: always the most likely token
  float top_p = 1;
  int64_t top_k = 0;  // number of most likely tokens to sample from; 0: all
  // Whether tokens are kept by their probabilities before the temperature acts, and with them those
  // that are exactly as likely as the least likely one.
  bool temperature_last = false;
};

// A token that may be sampled.
struct Candidate {
  int32_t token = 0;
  float logit = 0;
  double weight = 0;
};

// Whether logits define probabilities.
enum class Logits {
  kGood,
  kNaN,         // at least one logit is NaN
  kNoneLikely,  // all logits are minus infinity
};
Logits check_logits(std::span<const float> logits);

// The functions below require logits that are Logits::kGood. If a logit is plus infinity, all
// tokens with finite logits have probability 0.

// The token with the maximum logit; the first of several.
int32_t most_likely(std::span<const float> logits);
// Samples a token: keeps the `top_k` most likely tokens, then the fewest of these whose
// probabilities at the given temperature, or before it, add up to `top_p`, up to rounding, and
// takes the one at which their cumulative probability passes `uniform` in [0, 1). `candidates` is
// scratch with room for all tokens.
int32_t draw(std::span<const float> logits, const Sampling& sampling, double uniform,
             std::span<Candidate> candidates);
// The log probability of the token by the softmax of the logits.
float log_prob(std::span<const float> logits, int32_t token);

}  // namespace sl
