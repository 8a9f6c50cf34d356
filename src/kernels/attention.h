// Attention in parts: scores S = Q K^T, a softmax that takes the scores part by part, and O = P V.
#pragma once

#include <cstdint>

namespace sl::kernels {

// Heads are padded with zeros to a multiple of this many floats: one cache line.
inline constexpr int64_t kHeadAlign = 16;

// A matrix of `count` rows, which begin `stride` floats apart.
struct Rows {
  const float* data;
  int64_t stride;
  int64_t count;
};

// s[i, j] = sum_p q[i, p] * k[j, p], for rows of `width` floats, a multiple of kHeadAlign. s is
// [q.count, k.count] and must not overlap the inputs. If there is one query, which takes no longer
// than reading k, it prefetches as many rows from `next` on, unless that is null.
void attention_scores(const Rows& q, const Rows& k, int64_t width, float* s, int64_t s_stride,
                      const float* next = nullptr);

// One part of a softmax whose scores are seen in several parts: s[j] = exp(s[j] - largest), in
// place, for the n scores of this part. `largest` becomes the maximum of all scores so far, `total`
// the sum of their exponentials. Scores with valid[j] == 0 become 0; a null `valid` means that all
// are valid. Returns the factor by which weighted sums of earlier parts must be scaled. Before the
// first part, set `largest` to -inf and `total` to 0; the factor is then 0.
[[nodiscard]] float online_softmax(float* s, const uint8_t* valid, int64_t n, float* largest,
                                   float* total);

// o[i] = scale[i] * o[i] + sum_j p[i, j] * v[j], for rows of `width` floats, a multiple of
// kHeadAlign. p is [p.count, v.count], v is [v.count, width], o is [p.count, width], in place. If
// there is one row of p, it prefetches as many rows as v has from `next` on, unless that is null.
void attention_values(const Rows& p, const float* scale, const Rows& v, int64_t width, float* o,
                      int64_t o_stride, const float* next = nullptr);

namespace reference {

// Scalar references, which add in double.
void attention_scores(const Rows& q, const Rows& k, int64_t width, float* s, int64_t s_stride);
[[nodiscard]] float online_softmax(float* s, const uint8_t* valid, int64_t n, float* largest,
                                   float* total);
void attention_values(const Rows& p, const float* scale, const Rows& v, int64_t width, float* o,
                      int64_t o_stride);

}  // namespace reference
}  // namespace sl::kernels
