#pragma once

#include <cstdint>

namespace sl::kernels {

// Heads are padded with zeros to a multiple of this many floats: one cache line.
inline constexpr int64_t kHeadAlign = 16;

// Rows of floats at a stride.
struct Rows {
  const float* data;
  int64_t stride;
  int64_t count;
};

// s[i, j] = q_i . k_j, for rows of `width` floats, a multiple of kHeadAlign.
void attention_scores(const Rows& q, const Rows& k, int64_t width, float* s, int64_t s_stride);

// A part of a softmax over more scores than are seen at once: s[j] becomes exp(s[j] - largest),
// where `largest` is that of all scores so far, and `total` the sum of them. Scores whose `valid`
// is 0 become 0; it may be null. Returns by what sums made before are to be scaled: 0 before the
// first, when `largest` is -inf and `total` 0.
[[nodiscard]] float online_softmax(float* s, const uint8_t* valid, int64_t n, float* largest,
                                   float* total);

// o_i = scale[i] * o_i + sum_j p[i, j] v_j, for rows of `width` floats, a multiple of kHeadAlign.
// p has as many rows as o, and as many columns as there are rows of v.
void attention_values(const Rows& p, const float* scale, const Rows& v, int64_t width, float* o,
                      int64_t o_stride);

namespace reference {

// The same with sums in double.
void attention_scores(const Rows& q, const Rows& k, int64_t width, float* s, int64_t s_stride);
[[nodiscard]] float online_softmax(float* s, const uint8_t* valid, int64_t n, float* largest,
                                   float* total);
void attention_values(const Rows& p, const float* scale, const Rows& v, int64_t width, float* o,
                      int64_t o_stride);

}  // namespace reference
}  // namespace sl::kernels
