// How one token is chosen by its logits.
#pragma once

#include <cstdint>
#include <span>

namespace sl {

struct Sampling {
  float temperature = 0;  // 0: the most likely token
  float top_p = 1;
  int64_t top_k = 0;  // 0: all
};

// A token that may be drawn.
struct Candidate {
  int32_t token = 0;
  float logit = 0;
  double weight = 0;
};

// Whether logits say how likely each token is.
enum class Logits {
  kGood,
  kNaN,         // at least one is
  kNoneLikely,  // all are minus infinity
};
Logits check_logits(std::span<const float> logits);

// The rest is for good logits alone. A logit of plus infinity leaves no probability to finite ones.

// Of equal logits the first token comes first.
int32_t most_likely(std::span<const float> logits);
// The `top_k` most likely, then of those, at that temperature, the fewest that have a probability
// of `top_p` together, up to rounding, then the one at `uniform` in [0, 1). `candidates` is room
// for all tokens.
int32_t draw(std::span<const float> logits, const Sampling& sampling, double uniform,
             std::span<Candidate> candidates);
// Of the softmax of the logits.
float log_prob(std::span<const float> logits, int32_t token);

}  // namespace sl
