// Attention: softmax(Q K^T) V, for blocks of queries over blocks of keys, with a softmax that runs
// along. No more than a block of scores is in memory; keys out of a query's sight cost nothing.
#pragma once

#include <cstdint>
#include <span>

#include "core/ratio.h"
#include "core/run.h"
#include "core/weight_format.h"
#include "kernels/attention.h"

namespace sl::ops {

// Heads of queries share heads of keys and values, in groups.
struct Heads {
  int64_t kv = 1;
  int64_t group = 1;
  int64_t units = 1;
  bool interleaved = false;  // query heads of a group are `kv` apart, not side by side
  bool is_complex = false;   // a row has its real parts, then its imaginary parts

  int64_t row_units() const { return is_complex ? 2 * units : units; }
  int64_t count() const { return kv * group; }
  int64_t query_head(int64_t n, int64_t g) const {
    return interleaved ? g * kv + n : n * group + g;
  }
  // Floats of a head's row, with padding.
  int64_t width() const { return round_up(row_units(), kernels::kHeadAlign); }
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

// Rules of visibility beside the horizon, by numbers that each key has: their rows are `pitch`
// apart from one batch item to the next. A query has the numbers of the key at its own position.
struct PairVisibility {
  int64_t pitch = 0;
  // A query sees a key if minimum <= (query's number) - (key's number) <= maximum. Null: no rule.
  const double* positions = nullptr;
  double minimum = 0;
  double maximum = 0;
  // A query sees a key if their numbers are equal. Null: no rule.
  const double* segments = nullptr;

  // Whether the query at the position of key `query` sees key `key`; both count from `positions`.
  bool sees(int64_t query, int64_t key) const {
    if (segments && segments[query] != segments[key]) return false;
    if (!positions) return true;
    const double distance = positions[query] - positions[key];
    return distance >= minimum && distance <= maximum;
  }
};

// A bias added to scores. It depends on the distance from query to key, clipped to [minimum,
// maximum].
struct RelativeBias {
  int64_t minimum = 0;
  int64_t maximum = 0;
  // Biases [table_heads, distances]; with one table head all query heads share them.
  const float* table = nullptr;
  int64_t table_heads = 0;
  // Without a table the bias is the product of a query and the embedding of the distance.
  // Embeddings are [heads, distances, width], queries as in Attention.
  const float* embeddings = nullptr;
  const float* queries = nullptr;
  // Positions of the queries among the keys, [batch, queries]. Null: those of the horizon.
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

// Destination of the probabilities of a source's keys: one row for each batch item, query and head,
// with the sinks in its first columns.
struct Probabilities {
  std::byte* values = nullptr;
  DType dtype = DType::kFloat32;
  int64_t columns = 0;  // of a row
  // The key of the first column after the sinks: `first`, and with blocks that much after the
  // beginning of the query's block.
  int64_t first = 0;
  int64_t block = 0;

  // The key whose probability is in a query's first column after the sinks.
  int64_t first_key(int64_t query) const { return first + (block ? query / block * block : 0); }
};

// The part of a source's keys that one batch item has.
struct KeyWindow {
  int64_t start = 0;   // row of its first key
  int64_t count = 0;   // of keys
  int64_t offset = 0;  // of the first query among the keys, as in Horizon
  int64_t shift = 0;   // from the batch item to the item of the source that has the keys
};

// Keys and values: for each head, rows of heads.width() values in a format, `stride` bytes apart
// and one after the other. The rows of batch item b and head n begin at (b * heads.kv + n) * pitch.
struct AttentionSource {
  WeightFormat format = WeightFormat::kFloat32;  // float32 for complex rows
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  int64_t stride = 0;
  int64_t pitch = 0;
  const uint8_t* valid = nullptr;
  int64_t valid_pitch = 0;
  int64_t count = 0;
  Horizon horizon;
  // The keys of each batch item, if items differ in them; `count` is then the maximum, and
  // `item_pitch` the bytes from one item to the next. Null: all items have the first `count` rows
  // and horizon.offset.
  const KeyWindow* windows = nullptr;
  int64_t item_pitch = 0;
  const PairVisibility* pairs = nullptr;
  const RelativeBias* bias = nullptr;
  Probabilities probabilities;  // without values: not wanted

  // The source as batch item b sees it.
  AttentionSource of_item(int64_t b) const;
  // The key at the position of the query, one of `queries` of an item.
  int64_t own_key(int64_t b, int64_t query, int64_t queries) const {
    const bool given = bias && bias->query_positions;
    return given ? bias->query_positions[b * queries + query] : horizon.offset + query;
  }
  // The keys that the softmax goes over, seen or not: with blocks, all that a query of one sees.
  KeyRange scored_keys(int64_t query) const {
    if (probabilities.block == 0) return {0, count};
    const int64_t begin = probabilities.first_key(query);
    return {begin, begin + probabilities.columns};
  }
};

// The output of a query whose keys are all invalid or out of sight.
enum class NothingSeen { kZero, kMeanOfValues };

struct Attention {
  Heads heads;
  // Scaled, [batch, heads.kv, queries, heads.group, heads.width()].
  const float* queries = nullptr;
  DType product_dtype = DType::kFloat32;  // products of queries and keys are rounded to it
  DType score_dtype = DType::kFloat32;    // scores, after bias and soft cap, are rounded to it
  float soft_cap = 0;                     // 0: none
  const Sinks* sinks = nullptr;
  NothingSeen nothing_seen = NothingSeen::kZero;
  // Whether to compute invalid queries too. Without, or if they see no key, they become zeros.
  bool computes_invalid = false;
  // The softmax is over the keys of all.
  std::span<const AttentionSource> sources;

  // y: [batch, queries, heads, units], its mask saying which queries matter.
  void apply(Run& run, const Sequence& y) const;

 private:
  int64_t flop(const Sequence& y) const;
  void apply_complex(Run& run, const Sequence& y) const;
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
  // Every row is multiplied by `scale`, [units], and then gets `offset`, [heads, units], added.
  // Null: neither. In complex rows the scale is for both parts, the offset for the real one.
  const float* scale = nullptr;
  const float* offset = nullptr;
  DType dtype = DType::kFloat32;  // results are rounded to it

  // Writes the rows of batch item b and head n to `to` + (b * heads.kv + n) * pitch: the heads of
  // the group for each step, with steps `to_stride` floats apart.
  void arrange(const Run& run, float* to, int64_t to_stride, int64_t pitch) const;

 private:
  void arrange_row(const float* step, int64_t head, float* row) const;
};

}  // namespace sl::ops
