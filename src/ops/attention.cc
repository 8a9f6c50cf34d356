#include "ops/attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/kv_rows.h"
#include "kernels/pointwise.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

using kernels::Binary;
using kernels::Rows;
using kernels::Unary;

// Rows of queries in a block, unless one query has more heads to a group; scores in a block.
constexpr int64_t kBlockRows = 48;
constexpr int64_t kBlockScores = kBlockRows * 64;
constexpr int64_t kMostBlockKeys = 512;

// Rows that are restored from a format at a time, so that they stay in the L1 cache.
constexpr int64_t kRestoredRows = 32;

// Multiply-adds that pay for waking a thread.
constexpr int64_t kGrain = 1 << 18;

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// Sizes of the blocks of one call.
struct Blocks {
  int64_t queries;  // in a block
  int64_t rows;     // queries times heads of a group
  int64_t keys;     // in a block
  int64_t per_item;

  Blocks(const Attention& attention, int64_t all_queries) {
    const int64_t group = attention.heads.group;
    queries = std::clamp<int64_t>(kBlockRows / group, 1, std::max<int64_t>(1, all_queries));
    // Short horizons: a block that is long against them makes scores that nobody needs.
    for (const AttentionSource& source : attention.sources) {
      const Horizon& horizon = source.horizon;
      if (horizon.past < 0 || horizon.future < 0) continue;
      const int64_t seen = (horizon.past + horizon.future + 1) * horizon.block;
      queries = std::min(queries, std::max<int64_t>(12 / group, seen / 4));
    }
    queries = std::max<int64_t>(1, queries);
    rows = queries * group;
    keys = std::clamp(kBlockScores / rows, kBlockScores / kBlockRows, kMostBlockKeys);
    per_item = ceil_div(all_queries, queries);
  }
};

// One thread's memory, and the work on one block of queries in it.
class Worker {
 public:
  Worker(const Attention& attention, const Sequence& y, const Blocks& blocks)
      : a_(attention), y_(y), blocks_(blocks), width_(attention.heads.width()) {}

  static int64_t scratch_floats(const Attention& attention, const Blocks& blocks) {
    const int64_t rows = blocks.rows;
    return score_floats(blocks) + visible_floats() + restored_floats(attention) +
           rows * (attention.heads.width() + 3 + sinks(attention) + most_distances(attention));
  }

  void use(float* scratch) {
    const auto take = [&](int64_t count) {
      float* const at = scratch;
      scratch += count;
      return at;
    };
    const int64_t rows = blocks_.rows;
    context_ = take(rows * width_);
    scores_ = take(score_floats(blocks_));
    restored_ = take(restored_floats(a_));
    largest_ = take(rows);
    total_ = take(rows);
    correction_ = take(rows);
    sink_scores_ = take(rows * sinks(a_));
    bias_ = take(rows * most_distances(a_));
    visible_ = reinterpret_cast<uint8_t*>(take(visible_floats()));
  }

  // Block `index` of (b, n).
  void run(int64_t item, int64_t index) {
    item_ = item;
    b_ = item / a_.heads.kv;
    n_ = item % a_.heads.kv;
    first_ = index * blocks_.queries;
    queries_ = std::min(blocks_.queries, y_.time - first_);
    rows_ = queries_ * a_.heads.group;
    if (!a_.computes_invalid &&
        std::memchr(y_.mask_at(b_, first_), 1, static_cast<size_t>(queries_)) == nullptr) {
      zero_outputs();
      return;
    }
    std::fill_n(context_, rows_ * width_, 0.0f);
    std::fill_n(largest_, rows_, kLowest);
    std::fill_n(total_, rows_, 0.0f);
    if (a_.sinks) attend_to_sinks();
    for (const AttentionSource& shared : a_.sources) {
      const AttentionSource source = shared.of_item(b_);
      make_bias(source);
      const int64_t first = first_key(source, b_);
      const std::byte* next = next_head(shared);
      each_key_block(source, [&](KeyRange keys) {
        attend(source, keys, floats_at(source, next, keys.begin - first));
      });
    }
    for (int64_t r = 0; r < rows_; ++r) write_context(r);
    emit();
  }

 private:
  // Never less for more queries: a stream's memory is planned for the most.
  static int64_t score_floats(const Blocks& blocks) {
    return std::max(kBlockScores, blocks.rows * blocks.keys);
  }
  static int64_t visible_floats() { return kMostBlockKeys / int64_t{sizeof(float)}; }
  static int64_t restored_floats(const Attention& a) {
    const auto restores = [](const AttentionSource& source) {
      return source.format != WeightFormat::kFloat32;
    };
    return std::ranges::any_of(a.sources, restores) ? kRestoredRows * a.heads.width() : 0;
  }
  static int64_t sinks(const Attention& a) { return a.sinks ? a.sinks->count : 0; }
  static int64_t most_distances(const Attention& a) {
    int64_t maximum = 0;
    for (const AttentionSource& source : a.sources) {
      if (source.bias && !uses_table(a, *source.bias))
        maximum = std::max(maximum, source.bias->distances());
    }
    return maximum;
  }

  int64_t query_of(int64_t row) const { return first_ + row / a_.heads.group; }
  int64_t head_of(int64_t row) const { return a_.heads.query_head(n_, row % a_.heads.group); }
  // The block's rows among all that lie like the queries.
  const float* rows_of(const float* queries) const {
    return queries + (item_ * y_.time + first_) * a_.heads.group * width_;
  }

  // All keys in sight of the block's queries.
  KeyRange in_sight(const AttentionSource& source) const {
    return {source.horizon.of(first_, source.count).begin,
            source.horizon.of(first_ + queries_ - 1, source.count).end};
  }

  // The first key to compute for a batch item. Invalid ones before it, such as those of a history
  // that has not happened, are left out as far as that changes no bits: whole blocks or, for one
  // query, whole vectors of any instruction set.
  int64_t first_key(const AttentionSource& source, int64_t b) const {
    const KeyRange all = in_sight(source);
    if (all.begin >= all.end) return all.begin;
    const uint8_t* from = source.valid + b * source.valid_pitch + all.begin;
    const auto count = static_cast<size_t>(all.end - all.begin);
    const void* valid = std::memchr(from, 1, count);
    const int64_t invalid =
        valid ? static_cast<const uint8_t*>(valid) - from : static_cast<int64_t>(count);
    const int64_t unit = queries_ == 1 ? kernels::kHeadAlign : blocks_.keys;
    return all.begin + invalid / unit * unit;
  }

  template <typename Fn>
  void each_key_block(const AttentionSource& source, Fn&& fn) const {
    const KeyRange all = in_sight(source);
    const int64_t first = first_key(source, b_);
    for (int64_t k = all.begin; k < all.end; k += blocks_.keys) {
      const int64_t end = std::min(all.end, k + blocks_.keys);
      if (end > first) fn(KeyRange{std::max(k, first), end});
    }
  }

  // Calls fn(rows, first) with the keys, or the values, of a range as floats: all of them, or part
  // by part those that have another format. `first` counts from the beginning of the range.
  template <typename Fn>
  void each_part(const AttentionSource& source, const std::byte* data, KeyRange keys,
                 Fn&& fn) const {
    const std::byte* from = data + item_ * source.pitch + keys.begin * source.stride;
    const int64_t count = keys.end - keys.begin;
    if (source.format == WeightFormat::kFloat32) {
      constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
      fn(Rows{reinterpret_cast<const float*>(from), source.stride / kFloat, count}, 0);
      return;
    }
    for (int64_t first = 0; first < count; first += kRestoredRows) {
      const int64_t rows = std::min(kRestoredRows, count - first);
      kernels::restore_kv_rows(source.format, from + first * source.stride, rows, width_,
                               restored_);
      fn(Rows{restored_, width_, rows}, first);
    }
  }

  int64_t own_key(const AttentionSource& source, int64_t row) const {
    return source.own_key(b_, query_of(row), y_.time);
  }

  // Products of the block's rows of `queries` with `count` rows for each head, [rows, count].
  void multiply_by_heads(const float* queries, const float* with, int64_t count, float* out) const {
    const int64_t group = a_.heads.group;
    for (int64_t g = 0; g < group; ++g) {
      const float* of_head = with + a_.heads.query_head(n_, g) * count * width_;
      kernels::attention_scores({rows_of(queries) + g * width_, group * width_, queries_},
                                {of_head, width_, count}, width_, out + g * count, group * count);
    }
  }

  void cap(float* scores, int64_t count) const {
    if (a_.soft_cap == 0) return;
    soft_cap(a_.score_dtype, a_.soft_cap, scores, count);
  }

  void score_sinks() const {
    const Sinks& sinks = *a_.sinks;
    if (sinks.keys) {
      multiply_by_heads(sinks.queries, sinks.keys, sinks.count, sink_scores_);
      round_to(a_.product_dtype, sink_scores_, rows_ * sinks.count);
    } else {
      for (int64_t r = 0; r < rows_; ++r) sink_scores_[r] = sinks.scores[head_of(r)];
    }
    cap(sink_scores_, rows_ * sinks.count);
  }

  void attend_to_sinks() const {
    const Sinks& sinks = *a_.sinks;
    score_sinks();
    for (int64_t r = 0; r < rows_; ++r) {
      correction_[r] = kernels::online_softmax(sink_scores_ + r * sinks.count, nullptr, sinks.count,
                                               largest_ + r, total_ + r);
    }
    if (!sinks.values) return;
    kernels::attention_values({sink_scores_, sinks.count, rows_}, correction_,
                              {sinks.values + n_ * sinks.count * width_, width_, sinks.count},
                              width_, context_, width_);
  }

  // Whether a table serves as it is. Halves need it rounded.
  static bool uses_table(const Attention& a, const RelativeBias& bias) {
    return bias.table && a.product_dtype == DType::kFloat32;
  }
  const float* table_of(const RelativeBias& bias, int64_t row) const {
    return bias.table + head_of(row) % bias.table_heads * bias.distances();
  }

  // Computes the biases of the block's rows, [rows, distances].
  void make_bias(const AttentionSource& source) const {
    if (!source.bias || uses_table(a_, *source.bias)) return;
    const RelativeBias& bias = *source.bias;
    const int64_t distances = bias.distances();
    if (bias.table) {
      for (int64_t r = 0; r < rows_; ++r)
        std::copy_n(table_of(bias, r), distances, bias_ + r * distances);
    } else {
      multiply_by_heads(bias.queries, bias.embeddings, distances, bias_);
      round_to(bias.dtype, bias_, rows_ * distances);
    }
    round_to(a_.product_dtype, bias_, rows_ * distances);
  }

  void add_bias(const AttentionSource& source, int64_t row, KeyRange keys, float* scores) const {
    const RelativeBias& bias = *source.bias;
    const float* by_distance =
        uses_table(a_, bias) ? table_of(bias, row) : bias_ + row * bias.distances();
    const int64_t own = own_key(source, row);
    // Three parts of the keys: at most at the minimum distance, between minimum and maximum, and
    // beyond.
    const int64_t low = std::clamp(own + bias.minimum, keys.begin, keys.end);
    const int64_t high = std::clamp(own + bias.maximum + 1, low, keys.end);
    const auto add_to_all = [&](int64_t begin, int64_t end, float value) {
      float* at = scores + (begin - keys.begin);
      kernels::binary_scalar(Binary::kAdd, at, value, at, end - begin);
    };
    add_to_all(keys.begin, low, by_distance[0]);
    float* const middle = scores + (low - keys.begin);
    kernels::binary(Binary::kAdd, middle, by_distance + (low - own - bias.minimum), middle,
                    high - low);
    add_to_all(high, keys.end, by_distance[bias.distances() - 1]);
  }

  // The first key to compute of the head that comes after this one; null if this thread has no
  // other, or if it goes through a head's keys more than once.
  const std::byte* next_head(const AttentionSource& shared) const {
    const int64_t next = item_ + 1;
    if (next == y_.batch * a_.heads.kv || blocks_.per_item > 1) return nullptr;
    const int64_t b = next / a_.heads.kv;
    const AttentionSource source = shared.of_item(b);
    return source.keys + next * source.pitch + first_key(source, b) * source.stride;
  }

  // The row `index` rows behind another one, to be prefetched; null if it has no floats, or if
  // `row` is null.
  static const float* floats_at(const AttentionSource& source, const std::byte* row,
                                int64_t index) {
    if (!row || source.format != WeightFormat::kFloat32) return nullptr;
    return reinterpret_cast<const float*>(row + index * source.stride);
  }

  // Scores of the block's rows with keys, rows blocks_.keys apart; of each only what it sees.
  // Prefetches what lies at `next`.
  void score(const AttentionSource& source, KeyRange keys, const float* next) const {
    each_part(source, source.keys, keys, [&](const Rows& k, int64_t first) {
      kernels::attention_scores({rows_of(a_.queries), width_, rows_}, k, width_, scores_ + first,
                                blocks_.keys, next);
    });
    const bool plain = a_.product_dtype == DType::kFloat32 && !source.bias && a_.soft_cap == 0;
    for (int64_t r = 0; r < rows_ && !plain; ++r) {
      const KeyRange seen = seen_by(source, r, keys);
      if (seen.begin == seen.end) continue;
      float* const scores = row_scores(r, seen, keys);
      const int64_t count = seen.end - seen.begin;
      round_to(a_.product_dtype, scores, count);
      if (source.bias) {
        add_bias(source, r, seen, scores);
        round_to(a_.score_dtype, scores, count);
      }
      cap(scores, count);
    }
  }

  // Keys of a block within the row's horizon: empty, or in the block.
  KeyRange seen_by(const AttentionSource& source, int64_t row, KeyRange keys) const {
    const KeyRange range = source.horizon.of(query_of(row), source.count);
    const int64_t begin = std::clamp(range.begin, keys.begin, keys.end);
    return {begin, std::clamp(range.end, begin, keys.end)};
  }
  float* row_scores(int64_t row, KeyRange seen, KeyRange keys) const {
    return scores_ + row * blocks_.keys + (seen.begin - keys.begin);
  }

  // Which of the keys in its horizon the row really sees; null: all.
  const uint8_t* visible(const AttentionSource& source, int64_t row, KeyRange seen) const {
    const uint8_t* valid = source.valid + b_ * source.valid_pitch + seen.begin;
    const int64_t count = seen.end - seen.begin;
    if (!source.pairs) {
      const bool all = std::memchr(valid, 0, static_cast<size_t>(count)) == nullptr;
      return all ? nullptr : valid;
    }
    const PairVisibility& pairs = *source.pairs;
    const int64_t first = b_ * pairs.pitch, query = first + own_key(source, row);
    const int64_t key = first + seen.begin;
    for (int64_t j = 0; j < count; ++j) {
      visible_[j] = valid[j] && pairs.sees(query, key + j) ? 1 : 0;
    }
    return visible_;
  }

  // Prefetches keys that lie at `next`.
  void attend(const AttentionSource& source, KeyRange keys, const float* next) const {
    score(source, keys, floats_at(source, source.values + item_ * source.pitch, keys.begin));
    const int64_t count = keys.end - keys.begin;
    for (int64_t r = 0; r < rows_; ++r) {
      const KeyRange seen = seen_by(source, r, keys);
      float* const row = scores_ + r * blocks_.keys;
      std::fill(row, row + (seen.begin - keys.begin), 0.0f);
      std::fill(row + (seen.end - keys.begin), row + count, 0.0f);
      correction_[r] = 1;
      if (seen.begin == seen.end) continue;
      correction_[r] = kernels::online_softmax(row_scores(r, seen, keys), visible(source, r, seen),
                                               seen.end - seen.begin, largest_ + r, total_ + r);
    }
    each_part(source, source.values, keys, [&](const Rows& v, int64_t first) {
      if (first > 0) std::fill_n(correction_, rows_, 1.0f);
      kernels::attention_values({scores_ + first, blocks_.keys, rows_}, correction_, v, width_,
                                context_, width_, next);
    });
  }

  std::byte* output(int64_t row) const {
    const int64_t at = (b_ * y_.time + query_of(row)) * a_.heads.count() + head_of(row);
    return y_.values + static_cast<size_t>(at * a_.heads.units) * size_of(y_.dtype);
  }

  void write_context(int64_t row) const {
    float* const context = context_ + row * width_;
    const bool valid = *y_.mask_at(b_, query_of(row));
    if (!valid && !a_.computes_invalid) {
      // As in a block without a valid query: the output must not depend on the block's size.
      std::fill_n(context, width_, 0.0f);
    } else if (total_[row] != 0) {
      kernels::binary_scalar(Binary::kMultiply, context, 1 / total_[row], context, width_);
    } else if (valid && a_.nothing_seen == NothingSeen::kMeanOfValues) {
      mean_of_values(query_of(row), context);
    }
    convert(context, DType::kFloat32, output(row), y_.dtype, a_.heads.units);
  }

  // A softmax of equally low scores weighs all values alike; those outside of a source are zeros.
  void mean_of_values(int64_t query, float* context) const {
    std::fill_n(context, width_, 0.0f);
    int64_t count = 0;
    for (const AttentionSource& source : a_.sources) {
      const KeyRange keys = source.of_item(b_).scored_keys(query);
      count += keys.end - keys.begin;
    }
    for (const AttentionSource& shared : a_.sources) {
      const AttentionSource source = shared.of_item(b_);
      const KeyRange scored = source.scored_keys(query);
      const int64_t begin = std::max<int64_t>(0, scored.begin);
      const KeyRange keys{begin, std::max(begin, std::min(scored.end, source.count))};
      each_part(source, source.values, keys, [&](const Rows& v, int64_t) {
        for (int64_t j = 0; j < v.count; ++j)
          kernels::axpy(1 / static_cast<float>(count), v.data + j * v.stride, context, width_);
      });
    }
  }

  void zero_outputs() const {
    const auto bytes = static_cast<size_t>(a_.heads.units) * size_of(y_.dtype);
    for (int64_t r = 0; r < rows_; ++r) std::memset(output(r), 0, bytes);
    for (const AttentionSource& source : a_.sources) clear(source.probabilities);
  }

  // Probabilities: the scores again, now that their largest and total are known.
  std::byte* probabilities(const Probabilities& to, int64_t row) const {
    const int64_t at = (b_ * y_.time + query_of(row)) * a_.heads.count() + head_of(row);
    return to.values + static_cast<size_t>(at * to.columns) * size_of(to.dtype);
  }

  void clear(const Probabilities& to) const {
    if (!to.values) return;
    const auto bytes = static_cast<size_t>(to.columns) * size_of(to.dtype);
    for (int64_t r = 0; r < rows_; ++r) std::memset(probabilities(to, r), 0, bytes);
  }

  void emit() const {
    for (const AttentionSource& shared : a_.sources) {
      const AttentionSource source = shared.of_item(b_);
      const Probabilities& to = source.probabilities;
      if (!to.values) continue;
      clear(to);
      if (a_.nothing_seen == NothingSeen::kMeanOfValues) emit_equal(to);
      if (a_.sinks) emit_sinks(to);
      make_bias(source);
      each_key_block(source, [&](KeyRange keys) { emit(source, keys); });
    }
  }

  // Scores to probabilities.
  void weigh(int64_t row, float* scores, int64_t count) const {
    kernels::binary_scalar(Binary::kSubtract, scores, largest_[row], scores, count);
    kernels::unary(Unary::kExp, scores, scores, count, 0);
    kernels::binary_scalar(Binary::kDivide, scores, total_[row], scores, count);
  }

  // Rows that see no key get equal probabilities.
  void emit_equal(const Probabilities& to) const {
    const float equal = 1 / static_cast<float>(to.columns);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t i = 0; total_[r] == 0 && i < to.columns; ++i) {
        convert(&equal, DType::kFloat32,
                probabilities(to, r) + static_cast<size_t>(i) * size_of(to.dtype), to.dtype, 1);
      }
    }
  }

  void emit_sinks(const Probabilities& to) const {
    score_sinks();
    const int64_t count = a_.sinks->count;
    for (int64_t r = 0; r < rows_; ++r) {
      float* const scores = sink_scores_ + r * count;
      weigh(r, scores, count);
      convert(scores, DType::kFloat32, probabilities(to, r), to.dtype, count);
    }
  }

  void emit(const AttentionSource& source, KeyRange keys) const {
    score(source, keys, nullptr);
    const Probabilities& to = source.probabilities;
    for (int64_t r = 0; r < rows_; ++r) {
      const KeyRange seen = seen_by(source, r, keys);
      const int64_t count = seen.end - seen.begin;
      if (count == 0 || total_[r] == 0) continue;
      float* const scores = row_scores(r, seen, keys);
      const uint8_t* sees = visible(source, r, seen);
      weigh(r, scores, count);
      for (int64_t j = 0; sees && j < count; ++j) {
        if (!sees[j]) scores[j] = 0;
      }
      const int64_t column = sinks(a_) + seen.begin - to.first_key(query_of(r));
      convert(scores, DType::kFloat32,
              probabilities(to, r) + static_cast<size_t>(column) * size_of(to.dtype), to.dtype,
              count);
    }
  }

  const Attention& a_;
  const Sequence& y_;
  const Blocks& blocks_;
  const int64_t width_;

  // In scratch: of each row of the block.
  float* context_ = nullptr;
  float* scores_ = nullptr;
  float* restored_ = nullptr;
  float* largest_ = nullptr;
  float* total_ = nullptr;
  float* correction_ = nullptr;
  float* sink_scores_ = nullptr;
  float* bias_ = nullptr;
  uint8_t* visible_ = nullptr;

  // The block.
  int64_t item_ = 0, b_ = 0, n_ = 0;
  int64_t first_ = 0, queries_ = 0, rows_ = 0;
};

// Into how many parts to divide work of so many tasks.
int64_t part_count(const Run& run, const Attention& attention, const Sequence& y, int64_t tasks) {
  const int64_t threads = run.parallel().num_threads();
  if (threads == 1) return 1;
  int64_t keys = 0;
  for (const AttentionSource& source : attention.sources) keys += source.count;
  const int64_t work = y.steps() * attention.heads.count() * attention.heads.units * keys;
  return std::max<int64_t>(1, std::min({tasks, 4 * threads, work / kGrain}));
}

}  // namespace

KeyRange Horizon::of(int64_t query, int64_t keys) const {
  const int64_t own = (offset + query) / block * block;
  const int64_t begin = past < 0 ? 0 : own - past * block;
  const int64_t end = future < 0 ? keys : own + (future + 1) * block;
  return {std::clamp<int64_t>(begin, 0, keys), std::clamp<int64_t>(end, 0, keys)};
}

AttentionSource AttentionSource::of_item(int64_t b) const {
  AttentionSource own = *this;
  if (!windows) return own;
  const KeyWindow& window = windows[b];
  const int64_t first = window.shift * item_pitch + window.start * stride;
  own.keys += first;
  own.values += first;
  own.valid += window.shift * valid_pitch + window.start;
  own.count = window.count;
  own.horizon.offset = window.offset;
  return own;
}

// Both products and five operations of the softmax, for each key that a query may see.
int64_t Attention::flop(const Sequence& y) const {
  int64_t pairs = 0;
  for (const AttentionSource& source : sources) {
    for (int64_t b = 0; b < y.batch; ++b) {
      const AttentionSource own = source.of_item(b);
      for (int64_t t = 0; t < y.time; ++t) {
        const KeyRange range = own.horizon.of(t, own.count);
        pairs += std::max<int64_t>(0, range.end - range.begin);
      }
    }
  }
  return heads.count() * pairs * (4 * heads.units + 5);
}

void Attention::apply(Run& run, const Sequence& y) const {
  if (y.size() == 0) return;
  if (run.parallel().profile()) run.parallel().count(flop(y));
  if (heads.is_complex) return apply_complex(run, y);
  const Blocks blocks(*this, y.time);
  const int64_t tasks = y.batch * heads.kv * blocks.per_item;
  const int64_t parts = part_count(run, *this, y, tasks);
  const int64_t floats = round_up(Worker::scratch_floats(*this, blocks), kernels::kHeadAlign);
  float* const scratch = run.scratch<float>(parts, floats);
  run.parallel().each(parts, [&](int64_t part) {
    Worker worker(*this, y, blocks);
    worker.use(scratch + part * floats);
    for (int64_t task = tasks * part / parts; task < tasks * (part + 1) / parts; ++task) {
      worker.run(task / blocks.per_item, task % blocks.per_item);
    }
  });
}

void HeadRows::arrange(const Run& run, float* to, int64_t to_stride, int64_t pitch) const {
  for_steps(run, batch * time, heads.count() * heads.units, [&](int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      const int64_t b = step / time, t = step % time;
      const float* from = valid && !valid[step] ? nullptr : values + b * batch_stride + t * stride;
      for (int64_t n = 0; n < heads.kv; ++n) {
        float* row = to + (b * heads.kv + n) * pitch + t * to_stride;
        for (int64_t g = 0; g < heads.group; ++g) {
          arrange_row(from, heads.query_head(n, g), row + g * heads.width());
        }
      }
    }
  });
}

// One head of a step, or of an invalid one if there is none.
void HeadRows::arrange_row(const float* step, int64_t head, float* row) const {
  const int64_t units = heads.units, row_units = heads.row_units();
  std::fill(row + (step ? row_units : 0), row + heads.width(), 0.0f);
  if (!step) return;
  const float* own = step + head * row_units;
  for (int64_t part = 0; part < row_units; part += units) {
    if (scale) {
      kernels::binary(Binary::kMultiply, own + part, scale, row + part, units);
      round_to(dtype, row + part, units);
    } else {
      std::copy_n(own + part, units, row + part);
    }
  }
  if (!offset) return;
  kernels::binary(Binary::kAdd, row, offset + head * units, row, units);
  round_to(dtype, row, units);
}

}  // namespace sl::ops
