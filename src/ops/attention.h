// Attention: softmax(Q K^T) V, for blocks of queries over blocks of keys, with a softmax that runs
// along. No more than a block of scores is in memory; keys out of a query's sight cost nothing.
#pragma once

#include <cstdint>
#include <span>

#include "core/ratio.h"
#include "core/run.h"
#include "kernels/attention.h"

namespace sl::ops {

// Heads of queries share heads of keys and values, in groups.
struct Heads {
  int64_t kv = 1;
  int64_t group = 1;
  int64_t units = 1;
  bool interleaved = false;  // query heads of a group are `kv` apart, not side by side

  int64_t count() const { return kv * group; }
  int64_t query_head(int64_t n, int64_t g) const {
    return interleaved ? g * kv + n : n * group + g;
  }
  // Floats of a head's row, with padding.
  int64_t width() const { return round_up(units, kernels::kHeadAlign); }
};

// The keys [begin, end) that a query sees.
struct KeyRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// How far queries see, in steps or, with blocks of more than one, from their own block on. -1: all.
struct Horizon {
  int64_t past = -1;
  int64_t future = -1;
  int64_t block = 1;
  int64_t offset = 0;  // of the first query among the keys

  KeyRange of(int64_t query, int64_t keys) const;
};

// What else decides whether a query sees a key: numbers of the keys, `pitch` from one batch item to
// the next. A query has those of the key at its own position.
struct PairVisibility {
  int64_t pitch = 0;
  // Sees if minimum <= query's - key's <= maximum. Null: all.
  const double* positions = nullptr;
  double minimum = 0;
  double maximum = 0;
  // Sees if equal. Null: all.
  const double* segments = nullptr;
};

// What is added to scores by the distance from query to key, clipped to [minimum, maximum].
struct RelativeBias {
  int64_t minimum = 0;
  int64_t maximum = 0;
  // By distance, for each of `table_heads` query heads (1: for all).
  const float* table = nullptr;
  int64_t table_heads = 0;
  // Else the product of a query with an embedding for each distance: [heads, distances, width],
  // where the queries lie like those of the scores.
  const float* embeddings = nullptr;
  const float* queries = nullptr;
  // Of the queries among the keys, [batch, queries]. Null: as the horizon has them.
  const int32_t* query_positions = nullptr;
  DType dtype = DType::kFloat32;  // products are rounded to it

  int64_t distances() const { return maximum - minimum + 1; }
};

// Further keys that every query sees. Scores with them have no bias.
struct Sinks {
  int64_t count = 0;
  const float* scores = nullptr;  // [heads], for one sink
  // Else the product of a query with [heads, count, width].
  const float* keys = nullptr;
  const float* queries = nullptr;
  const float* values = nullptr;  // [kv heads, count, width]; null: zeros
};

// Where the probabilities of a source's keys go: for each batch item, query and head a row, sinks
// first.
struct Probabilities {
  std::byte* values = nullptr;
  DType dtype = DType::kFloat32;
  int64_t columns = 0;  // of a row
  // The key of the first column after the sinks: `first`, and with blocks that much after the
  // beginning of the query's block.
  int64_t first = 0;
  int64_t block = 0;
};

// The part of a source's keys that one batch item has.
struct KeyWindow {
  int64_t start = 0;   // row of its first key
  int64_t count = 0;   // of keys
  int64_t offset = 0;  // of the first query among the keys, as in Horizon
};

// Keys and values: of each head, rows of heads.width() floats, `stride` apart. Those of (batch item
// b, head n) are at (b * heads.kv + n) * pitch.
struct AttentionSource {
  const float* keys = nullptr;
  const float* values = nullptr;
  int64_t stride = 0;
  int64_t pitch = 0;
  const uint8_t* valid = nullptr;
  int64_t valid_pitch = 0;
  int64_t count = 0;
  Horizon horizon;
  // By batch item, where they differ: row of the first key, `count` and horizon.offset. `count` is
  // then the maximum.
  const KeyWindow* windows = nullptr;
  const PairVisibility* pairs = nullptr;
  const RelativeBias* bias = nullptr;
  Probabilities probabilities;  // without values: not wanted

  // The source with what is item b's own.
  AttentionSource of_item(int64_t b) const;
};

// What a query gets whose keys are all invalid or out of sight.
enum class NothingSeen { kZero, kMeanOfValues };

struct Attention {
  Heads heads;
  // Scaled, [batch, heads.kv, queries, heads.group, heads.width()].
  const float* queries = nullptr;
  DType product_dtype = DType::kFloat32;  // products of queries and keys are rounded to it
  DType score_dtype = DType::kFloat32;    // and what is made of them to this
  float soft_cap = 0;                     // 0: none
  const Sinks* sinks = nullptr;
  NothingSeen nothing_seen = NothingSeen::kZero;
  // The softmax is over the keys of all.
  std::span<const AttentionSource> sources;

  // y: [batch, queries, heads, units], its mask saying which queries matter.
  void apply(Run& run, const Sequence& y) const;

 private:
  int64_t flop(const Sequence& y) const;
};

// Rows of heads as attention takes them, made from steps of [heads, units].
struct HeadRows {
  Heads heads;
  const float* values = nullptr;
  int64_t stride = 0;        // floats from one step to the next
  int64_t batch_stride = 0;  // and from one batch item to the next
  int64_t batch = 0;
  int64_t time = 0;
  const uint8_t* valid = nullptr;  // [batch, time]: steps that are 0 become zeros. Null: none
  // What every row is multiplied by, [units], and what is added then, [heads, units]. Null:
  // nothing.
  const float* scale = nullptr;
  const float* offset = nullptr;
  DType dtype = DType::kFloat32;  // results are rounded to it

  // Those of (batch item b, head n) go to `to` + (b * heads.kv + n) * pitch: for each step,
  // `stride` floats apart, the heads of the group.
  void arrange(const Run& run, float* to, int64_t to_stride, int64_t pitch) const;

 private:
  void arrange_row(const float* step, int64_t head, float* row) const;
};

}  // namespace sl::ops
