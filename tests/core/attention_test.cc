#include "ops/attention.h"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "core/parallel.h"
#include "kernels/kv_rows.h"

namespace sl::ops {
namespace {

// A random problem, and its result by definition: softmax(mask(q k^T + bias)) v.
class Problem {
 public:
  explicit Problem(uint32_t seed) : rng_(seed) {
    heads = {pick(1, 3), pick(1, 3), pick(1, 20), pick(0, 1) == 1};
    batch = pick(1, 3);
    queries = pick(1, 130);
    const int64_t block = pick(0, 1) ? 1 : pick(2, 5);
    const int64_t offset = pick(0, 40) / block * block;
    keys = offset + queries + pick(0, 20);
    source.horizon = {pick(-1, 30), pick(-1, 8), block, offset};
    q_ = floats(batch * heads.count() * queries * heads.width());
    kv_ = floats(batch * heads.kv * keys * 2 * heads.width());
    clear_padding(q_);
    clear_padding(kv_);
    valid_.resize(static_cast<size_t>(batch * keys));
    for (uint8_t& v : valid_) v = pick(0, 3) > 0;
    for (int64_t b = 0; b < batch && pick(0, 1); ++b)
      std::fill_n(valid_.begin() + b * keys, pick(0, keys), uint8_t{0});
    store_rows(std::array{WeightFormat::kFloat32, WeightFormat::kBFloat16,
                          WeightFormat::kInt8}[static_cast<size_t>(pick(0, 2))]);
    source.valid = valid_.data();
    source.valid_pitch = source.count = keys;
    attention.heads = heads;
    attention.queries = q_.data();
    attention.soft_cap = pick(0, 2) == 0 ? 3.0f : 0.0f;
    if (pick(0, 2) == 0) attention.nothing_seen = NothingSeen::kMeanOfValues;
    if (pick(0, 1)) add_pairs();
    if (pick(0, 1)) add_bias();
    if (pick(0, 1)) add_sinks();
    attention.sources = {&source, 1};
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  int64_t sinks() const { return attention.sinks ? attention.sinks->count : 0; }
  int64_t columns() const { return sinks() + keys; }

  // The context of (b, t, head (n, g)), and its probabilities.
  std::vector<double> context(int64_t b, int64_t t, int64_t n, int64_t g,
                              std::vector<double>* probabilities) const {
    std::vector<double> p(static_cast<size_t>(columns()), -HUGE_VAL);
    double largest = -HUGE_VAL, total = 0;
    for (int64_t j = 0; j < columns(); ++j) {
      if (j < sinks()) {
        p[static_cast<size_t>(j)] = cap(sink_score(b, t, n, g, j));
      } else if (sees(b, t, j - sinks())) {
        p[static_cast<size_t>(j)] = cap(score(b, t, n, g, j - sinks()));
      }
      largest = std::max(largest, p[static_cast<size_t>(j)]);
    }
    const bool nothing = largest == -HUGE_VAL;
    const bool mean = attention.nothing_seen == NothingSeen::kMeanOfValues;
    for (double& v : p) {
      v = nothing ? (mean ? 1.0 : 0.0) : std::exp(v - largest);
      total += v;
    }
    std::vector<double> out(static_cast<size_t>(heads.units));
    for (int64_t j = 0; j < columns(); ++j) {
      double& weight = p[static_cast<size_t>(j)];
      if (total > 0) weight /= total;
      const float* v = j < sinks() ? sink_value(n, j) : value(b, n, j - sinks());
      for (int64_t u = 0; v && u < heads.units; ++u) out[static_cast<size_t>(u)] += weight * v[u];
    }
    *probabilities = p;
    return out;
  }

  Heads heads;
  int64_t batch = 0, queries = 0, keys = 0;
  AttentionSource source;
  Attention attention;

 private:
  int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng_);
  }
  std::vector<float> floats(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> out(static_cast<size_t>(count));
    for (float& v : out) v = normal(rng_);
    return out;
  }
  void clear_padding(std::vector<float>& rows) const {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (static_cast<int64_t>(i) % heads.width() >= heads.units) rows[i] = 0;
    }
  }

  void add_pairs() {
    double position = 0;
    for (int64_t i = 0; i < batch * keys; ++i) {
      positions_.push_back(position += static_cast<double>(pick(0, 2)));
      segments_.push_back(static_cast<double>(i / 7));
    }
    pairs_.pitch = keys;
    if (pick(0, 1)) pairs_.positions = positions_.data();
    if (pick(0, 1)) pairs_.segments = segments_.data();
    pairs_.minimum = static_cast<double>(-pick(0, 5));
    pairs_.maximum = static_cast<double>(pick(0, 30));
    source.pairs = &pairs_;
  }
  void add_bias() {
    bias_.minimum = -pick(0, 20);
    bias_.maximum = pick(0, 10);
    if (pick(0, 1)) {
      bias_.table_heads = pick(0, 1) ? heads.count() : 1;
      table_ = floats(bias_.table_heads * bias_.distances());
      bias_.table = table_.data();
    } else {
      table_ = floats(heads.count() * bias_.distances() * heads.width());
      bias_.embeddings = table_.data();
      bias_.queries = q_.data();
    }
    source.bias = &bias_;
  }
  void add_sinks() {
    sinks_.count = pick(0, 1) ? 1 : pick(1, 3);
    sink_keys_ = floats(heads.count() * sinks_.count * heads.width());
    sink_values_ = floats(heads.kv * sinks_.count * heads.width());
    if (sinks_.count == 1) {
      sinks_.scores = sink_keys_.data();
    } else {
      sinks_.keys = sink_keys_.data();
      sinks_.queries = q_.data();
      sinks_.values = sink_values_.data();
    }
    attention.sinks = &sinks_;
  }

  // Gives the source its rows in a format, and keeps their values as the format has them.
  void store_rows(WeightFormat format) {
    const int64_t width = heads.width(), items = batch * heads.kv;
    source.format = format;
    source.stride = kernels::kv_row_bytes(format, width);
    source.pitch = 2 * keys * source.stride;
    rows_.resize(static_cast<size_t>(items * source.pitch));
    source.keys = rows_.data();
    source.values = source.keys + keys * source.stride;
    for (int64_t i = 0; i < items * keys * 2; ++i) {
      const int64_t row = i / 2, part = i % 2;
      std::byte* const to =
          rows_.data() + row / keys * source.pitch + (part * keys + row % keys) * source.stride;
      float* const values = kv_.data() + i * width;
      kernels::store_kv_rows(format, values, 1, width, to);
      kernels::restore_kv_rows(format, to, 1, width, values);
    }
  }

  const float* query(int64_t b, int64_t t, int64_t n, int64_t g) const {
    return q_.data() + (((b * heads.kv + n) * queries + t) * heads.group + g) * heads.width();
  }
  const float* value(int64_t b, int64_t n, int64_t j) const {
    return kv_.data() + (((b * heads.kv + n) * keys + j) * 2 + 1) * heads.width();
  }
  const float* sink_value(int64_t n, int64_t j) const {
    return sinks_.values ? sinks_.values + (n * sinks_.count + j) * heads.width() : nullptr;
  }
  double dot(const float* a, const float* b) const {
    double sum = 0;
    for (int64_t u = 0; u < heads.width(); ++u) sum += static_cast<double>(a[u]) * b[u];
    return sum;
  }
  double cap(double score) const {
    const double cap = attention.soft_cap;
    return cap == 0 ? score : cap * std::tanh(score / cap);
  }
  double sink_score(int64_t b, int64_t t, int64_t n, int64_t g, int64_t j) const {
    const int64_t head = heads.query_head(n, g);
    if (sinks_.scores) return sinks_.scores[head];
    return dot(query(b, t, n, g), sinks_.keys + (head * sinks_.count + j) * heads.width());
  }
  double score(int64_t b, int64_t t, int64_t n, int64_t g, int64_t j) const {
    const float* k = kv_.data() + ((b * heads.kv + n) * keys + j) * 2 * heads.width();
    const double product = dot(query(b, t, n, g), k);
    if (!source.bias) return product;
    const int64_t distance =
        std::clamp(j - source.horizon.offset - t, bias_.minimum, bias_.maximum) - bias_.minimum;
    const int64_t head = heads.query_head(n, g);
    if (bias_.table)
      return product + bias_.table[head % bias_.table_heads * bias_.distances() + distance];
    const float* e = bias_.embeddings + (head * bias_.distances() + distance) * heads.width();
    return product + dot(query(b, t, n, g), e);
  }
  bool sees(int64_t b, int64_t t, int64_t j) const {
    const auto& [past, future, block, offset] = source.horizon;
    const int64_t ahead = j / block - (offset + t) / block;
    if ((past >= 0 && -ahead > past) || (future >= 0 && ahead > future)) return false;
    if (!valid_[static_cast<size_t>(b * keys + j)]) return false;
    const auto own = static_cast<size_t>(b * keys + offset + t);
    const auto other = static_cast<size_t>(b * keys + j);
    if (source.pairs && pairs_.positions) {
      const double distance = positions_[own] - positions_[other];
      if (distance < pairs_.minimum || distance > pairs_.maximum) return false;
    }
    return !source.pairs || !pairs_.segments || segments_[own] == segments_[other];
  }

  std::mt19937 rng_;
  std::vector<float> q_, kv_, table_, sink_keys_, sink_values_;
  std::vector<std::byte> rows_;  // keys and values as the source has them
  std::vector<uint8_t> valid_;
  std::vector<double> positions_, segments_;
  PairVisibility pairs_;
  RelativeBias bias_;
  Sinks sinks_;
};

void check(Problem& p, Mode mode, const Parallel& parallel) {
  const Allocator allocator;
  Workspace workspace(allocator);
  Run run(mode, workspace, parallel, Constants());
  const Sequence y =
      run.output({DType::kFloat32, {p.heads.count(), p.heads.units}}, p.batch, p.queries);
  std::fill_n(y.mask, y.steps(), uint8_t{1});
  std::vector<float> emitted(static_cast<size_t>(y.steps() * p.heads.count() * p.columns()), -1);
  p.source.probabilities = {reinterpret_cast<std::byte*>(emitted.data()), DType::kFloat32,
                            p.columns(), 0, 0};
  p.attention.apply(run, y);

  double error = 0, probability_error = 0;
  std::vector<double> probabilities;
  for (int64_t step = 0; step < y.steps(); ++step) {
    for (int64_t n = 0; n < p.heads.kv; ++n) {
      for (int64_t g = 0; g < p.heads.group; ++g) {
        const auto want = p.context(step / p.queries, step % p.queries, n, g, &probabilities);
        const int64_t row = step * p.heads.count() + p.heads.query_head(n, g);
        for (int64_t u = 0; u < p.heads.units; ++u) {
          error = std::max(
              error, std::abs(y.floats()[row * p.heads.units + u] - want[static_cast<size_t>(u)]));
        }
        for (int64_t j = 0; j < p.columns(); ++j) {
          probability_error = std::max(
              probability_error, std::abs(emitted[static_cast<size_t>(row * p.columns() + j)] -
                                          probabilities[static_cast<size_t>(j)]));
        }
      }
    }
  }
  CHECK(error < 1e-4);
  CHECK(probability_error < 1e-5);
}

TEST_CASE("attention agrees with its definition", "[attention]") {
  const Parallel one, three(3, nullptr, nullptr);
  for (uint32_t seed = 0; seed < 150; ++seed) {
    INFO("seed " << seed);
    Problem problem(seed);
    check(problem, seed % 2 ? Mode::kStep : Mode::kLayer, seed % 3 ? one : three);
  }
}

TEST_CASE("invalid keys before the first valid one are not computed", "[attention]") {
  const Parallel one;
  const Allocator allocator;
  Workspace workspace(allocator);
  Run run(Mode::kStep, workspace, one, Constants());
  constexpr int64_t kKeys = 300, kBatch = 2;
  const Heads heads{2, 1, 20};
  for (const int64_t queries : {1, 100}) {
    INFO(queries << " queries");
    // Items differ in how many keys are invalid: not all of those of a block or vector.
    const int64_t invalid[kBatch] = {210, 75};
    const int64_t left_out[kBatch] = {queries == 1 ? 208 : 192, 64};
    const auto floats = [&](int64_t rows) {
      std::vector<float> out(static_cast<size_t>(kBatch * heads.kv * rows * heads.width()));
      for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(i % 13) / 13 - 0.5f;
      return out;
    };
    const std::vector<float> q = floats(queries);
    std::vector<float> kv = floats(2 * kKeys);
    std::vector<uint8_t> valid(kBatch * kKeys, 1);
    AttentionSource source;
    source.keys = reinterpret_cast<const std::byte*>(kv.data());
    source.stride = heads.width() * static_cast<int64_t>(sizeof(float));
    source.values = source.keys + kKeys * source.stride;
    source.pitch = 2 * kKeys * source.stride;
    source.valid = valid.data();
    source.valid_pitch = source.count = kKeys;
    source.horizon = {-1, 0, 1, kKeys - queries};
    Attention attention;
    attention.heads = heads;
    attention.queries = q.data();
    attention.sources = {&source, 1};
    const Sequence y = run.output({DType::kFloat32, {heads.count(), heads.units}}, kBatch, queries);
    std::fill_n(y.mask, y.steps(), uint8_t{1});
    for (int64_t b = 0; b < kBatch; ++b)
      std::fill_n(valid.begin() + b * kKeys, invalid[b], uint8_t{0});
    attention.apply(run, y);
    const std::vector<float> want(y.floats(), y.floats() + y.size());
    // A weight of zero times NaN would be NaN.
    for (int64_t i = 0; i < kBatch * heads.kv * 2; ++i) {
      std::fill_n(kv.begin() + i * kKeys * heads.width(),
                  left_out[i / (heads.kv * 2)] * heads.width(), std::nanf(""));
    }
    attention.apply(run, y);
    CHECK(std::equal(want.begin(), want.end(), y.floats()));
    for (const float v : want) CHECK(std::isfinite(v));
  }
}

TEST_CASE("attention over two sources equals attention over their concatenation", "[attention]") {
  const Parallel one;
  const Allocator allocator;
  Workspace workspace(allocator);
  Run run(Mode::kLayer, workspace, one, Constants());
  Problem problem(3);
  problem.source.horizon = {};
  problem.source.pairs = nullptr;
  problem.source.bias = nullptr;
  const ChannelSpec spec{DType::kFloat32, {problem.heads.count(), problem.heads.units}};
  const Sequence whole = run.output(spec, problem.batch, problem.queries);
  const Sequence parts = run.output(spec, problem.batch, problem.queries);
  std::fill_n(whole.mask, whole.steps(), uint8_t{1});
  std::fill_n(parts.mask, parts.steps(), uint8_t{1});
  problem.attention.apply(run, whole);
  AttentionSource halves[2] = {problem.source, problem.source};
  halves[0].count = problem.keys / 3;
  halves[1].count = problem.keys - halves[0].count;
  halves[1].keys += halves[0].count * halves[1].stride;
  halves[1].values += halves[0].count * halves[1].stride;
  halves[1].valid += halves[0].count;
  problem.attention.sources = halves;
  problem.attention.apply(run, parts);
  for (int64_t i = 0; i < whole.size(); ++i) {
    CHECK(std::abs(parts.floats()[i] - whole.floats()[i]) < 1e-5f);
  }
}

TEST_CASE("a query that sees no key gets the mean of its block's window", "[attention]") {
  const Parallel one;
  const Allocator allocator;
  Workspace workspace(allocator);
  Run run(Mode::kLayer, workspace, one, Constants());
  constexpr int64_t kSteps = 6;
  const Heads heads{1, 1, 1};
  const auto size = static_cast<size_t>(kSteps * heads.width());
  const std::vector<float> queries(size), keys(size);
  std::vector<float> values(size);
  for (size_t t = 0; t < kSteps; ++t)
    values[t * static_cast<size_t>(heads.width())] = static_cast<float>(t + 1);
  const std::vector<uint8_t> valid = {0, 1, 1, 1, 0, 0};
  AttentionSource source;
  source.keys = reinterpret_cast<const std::byte*>(keys.data());
  source.values = reinterpret_cast<const std::byte*>(values.data());
  source.stride = heads.width() * static_cast<int64_t>(sizeof(float));
  source.pitch = source.stride * kSteps;
  source.valid = valid.data();
  source.valid_pitch = source.count = kSteps;
  source.horizon = {0, 0, 1, 0};  // each query sees only the key at its own position
  // Windows are blocks of 2 steps, extended by one step before and one after.
  source.probabilities = {nullptr, DType::kFloat32, 4, -1, 2};
  Attention attention;
  attention.heads = heads;
  attention.queries = queries.data();
  attention.nothing_seen = NothingSeen::kMeanOfValues;
  attention.sources = {&source, 1};
  const Sequence y = run.output({DType::kFloat32, {1, 1}}, 1, kSteps);
  std::fill_n(y.mask, kSteps, uint8_t{1});
  attention.apply(run, y);
  // The position before the source counts as zero.
  CHECK(y.floats()[0] == Approx((1 + 2 + 3) / 4.0));
  for (int t = 1; t < 4; ++t) CHECK(y.floats()[t] == Approx(t + 1));
  for (int t = 4; t < 6; ++t) CHECK(y.floats()[t] == Approx((4 + 5 + 6) / 4.0));
}

}  // namespace
}  // namespace sl::ops
