// Attention of complex numbers: scores are q k, without a conjugate, and the softmax is that of
// their complex exponentials, as in the reference. Rarely used, so written for one query at a time.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>

#include "ops/attention.h"
#include "ops/complex_functions.h"

namespace sl::ops {
namespace {

using Wide = std::complex<double>;

// One thread's work on the queries of one batch item and one of their heads.
class ComplexWorker {
 public:
  ComplexWorker(const Attention& attention, const Sequence& y, Wide* context)
      : a_(attention),
        y_(y),
        units_(attention.heads.units),
        width_(attention.heads.width()),
        real_width_(round_up(units_, kernels::kHeadAlign)),
        context_(context) {}

  // The head is one of the group that shares a head of keys.
  void run(int64_t b, int64_t kv, int64_t in_group, int64_t query) {
    const Heads& heads = a_.heads;
    b_ = b;
    head_ = heads.query_head(kv, in_group);
    query_ = query;
    item_ = b * heads.kv + kv;
    row_ = (item_ * y_.time + query) * heads.group + in_group;
    std::fill_n(context_, units_, Wide());
    total_ = 0;
    largest_ = -std::numeric_limits<double>::infinity();
    sees_any_ = false;
    if (a_.computes_invalid || *y_.mask_at(b, query)) attend();
    write();
    for (const AttentionSource& source : a_.sources) emit(source.of_item(b_));
  }

 private:
  // Products of the query with a complex row, and with a real one.
  Wide product(const float* k) const {
    const float* q = a_.queries + row_ * width_;
    Wide sum;
    for (int64_t i = 0; i < units_; ++i)
      sum += Wide(q[i], q[units_ + i]) * Wide(k[i], k[units_ + i]);
    return sum;
  }
  Wide product(const float* queries, const float* k) const {
    const float* q = queries + row_ * width_;
    Wide sum;
    for (int64_t i = 0; i < units_; ++i) {
      sum += Wide(q[i], q[units_ + i]) * static_cast<double>(k[i]);
    }
    return sum;
  }

  Wide cap(Wide score) const {
    if (a_.soft_cap == 0) return score;
    const auto limit = static_cast<double>(a_.soft_cap);
    const auto part = static_cast<complex64>(score / limit);
    return limit * Wide(complex_unary(kernels::Unary::kTanh, part, 0));
  }

  Wide sink_score(int64_t i) const {
    const Sinks& sinks = *a_.sinks;
    if (!sinks.keys) return cap(static_cast<double>(sinks.scores[head_]));
    return cap(product(sinks.queries, sinks.keys + (head_ * sinks.count + i) * real_width_));
  }

  Wide score(const AttentionSource& source, int64_t key) const {
    Wide score = product(row_of(source, source.keys, key));
    if (a_.score_dtype == DType::kFloat32) score = score.real();
    if (!source.bias) return cap(score);
    const RelativeBias& bias = *source.bias;
    const int64_t own = source.own_key(b_, query_, y_.time);
    const int64_t at = std::clamp(key - own, bias.minimum, bias.maximum) - bias.minimum;
    if (bias.table) {
      const int64_t table = head_ % bias.table_heads;
      score += static_cast<double>(bias.table[table * bias.distances() + at]);
    } else {
      const int64_t row = head_ * bias.distances() + at;
      const Wide relative = product(bias.queries, bias.embeddings + row * real_width_);
      score += bias.dtype == DType::kComplex64 ? relative : relative.real();
    }
    return cap(score);
  }

  // Calls fn with each key of the source that the query sees.
  template <typename Fn>
  void each_key(const AttentionSource& source, Fn&& fn) const {
    const uint8_t* valid = source.valid + b_ * source.valid_pitch;
    const KeyRange range = source.horizon.of(query_, source.count);
    const int64_t own = source.own_key(b_, query_, y_.time);
    for (int64_t key = range.begin; key < range.end; ++key) {
      const PairVisibility* pairs = source.pairs;
      const int64_t first = pairs ? b_ * pairs->pitch : 0;
      if (valid[key] && (!pairs || pairs->sees(first + own, first + key))) fn(key);
    }
  }

  // Adds `value` by the weight of its score; `imaginary` null: it is real, `real` null: it is 0.
  void add(Wide score, const float* real, const float* imaginary) {
    sees_any_ = true;
    if (score.real() > largest_) {
      const double correction = std::exp(largest_ - score.real());
      total_ *= correction;
      for (int64_t i = 0; i < units_; ++i) context_[i] *= correction;
      largest_ = score.real();
    }
    const Wide weight = exponential(score - largest_);
    total_ += weight;
    for (int64_t i = 0; real && i < units_; ++i) {
      context_[i] += weight * Wide(real[i], imaginary ? imaginary[i] : 0.0f);
    }
  }

  static Wide exponential(Wide z) {
    const double size = std::exp(z.real());
    return {size * std::cos(z.imag()), size * std::sin(z.imag())};
  }

  const float* row_of(const AttentionSource& source, const std::byte* rows, int64_t key) const {
    return reinterpret_cast<const float*>(rows + item_ * source.pitch + key * source.stride);
  }
  const float* value(const AttentionSource& source, int64_t key) const {
    return row_of(source, source.values, key);
  }

  void attend() {
    const int64_t kv = item_ % a_.heads.kv;
    for (int64_t i = 0; a_.sinks && i < a_.sinks->count; ++i) {
      const Sinks& sinks = *a_.sinks;
      const float* real =
          sinks.values ? sinks.values + (kv * sinks.count + i) * real_width_ : nullptr;
      add(sink_score(i), real, nullptr);
    }
    for (const AttentionSource& shared : a_.sources) {
      const AttentionSource source = shared.of_item(b_);
      each_key(source, [&](int64_t key) {
        const float* real = value(source, key);
        add(score(source, key), real, real + units_);
      });
    }
  }

  void write() {
    const bool valid = *y_.mask_at(b_, query_);
    if (!valid && !(a_.computes_invalid && sees_any_)) {
      std::fill_n(context_, units_, Wide());
    } else if (sees_any_) {
      for (int64_t i = 0; i < units_; ++i) context_[i] /= total_;
    } else if (a_.nothing_seen == NothingSeen::kMeanOfValues) {
      mean_of_values();
    }
    auto* out = y_.as<complex64>() + ((b_ * y_.time + query_) * a_.heads.count() + head_) * units_;
    for (int64_t i = 0; i < units_; ++i) out[i] = static_cast<complex64>(context_[i]);
  }

  void mean_of_values() {
    int64_t count = 0;
    for (const AttentionSource& shared : a_.sources) {
      const AttentionSource source = shared.of_item(b_);
      const KeyRange keys = source.scored_keys(query_);
      count += keys.end - keys.begin;
      for (int64_t j = std::max<int64_t>(0, keys.begin); j < std::min(keys.end, source.count);
           ++j) {
        const float* real = value(source, j);
        for (int64_t i = 0; i < units_; ++i) context_[i] += Wide(real[i], real[units_ + i]);
      }
    }
    for (int64_t i = 0; i < units_; ++i) context_[i] /= static_cast<double>(count);
  }

  void emit(const AttentionSource& source) const {
    const Probabilities& to = source.probabilities;
    if (!to.values) return;
    auto* row = reinterpret_cast<complex64*>(to.values) +
                ((b_ * y_.time + query_) * a_.heads.count() + head_) * to.columns;
    std::fill_n(row, to.columns, complex64());
    if (!*y_.mask_at(b_, query_)) return;
    if (!sees_any_) {
      const float equal = 1 / static_cast<float>(to.columns);
      if (a_.nothing_seen == NothingSeen::kMeanOfValues) std::fill_n(row, to.columns, equal);
      return;
    }
    const auto share = [&](Wide score) {
      return static_cast<complex64>(exponential(score - largest_) / total_);
    };
    const int64_t sinks = a_.sinks ? a_.sinks->count : 0;
    for (int64_t i = 0; i < sinks; ++i) row[i] = share(sink_score(i));
    const int64_t first = to.first_key(query_);
    each_key(source, [&](int64_t key) { row[sinks + key - first] = share(score(source, key)); });
  }

  const Attention& a_;
  const Sequence& y_;
  const int64_t units_, width_;
  const int64_t real_width_;  // of the rows of sinks and of embeddings, which are real
  Wide* const context_;       // [units]

  int64_t b_ = 0, head_ = 0, query_ = 0;
  int64_t item_ = 0;  // batch item and head of keys
  int64_t row_ = 0;   // of the query
  Wide total_;
  double largest_ = 0;
  bool sees_any_ = false;
};

}  // namespace

void Attention::apply_complex(Run& run, const Sequence& y) const {
  const int64_t rows = y.steps() * heads.count();
  const int64_t threads = run.parallel().num_threads();
  const int64_t parts = threads == 1 ? 1 : std::min(rows, 4 * threads);
  auto* context = run.scratch<std::complex<double>>(parts, heads.units);
  run.parallel().each(parts, [&](int64_t part) {
    ComplexWorker worker(*this, y, context + part * heads.units);
    for (int64_t i = rows * part / parts; i < rows * (part + 1) / parts; ++i) {
      const int64_t step = i / heads.count(), head = i % heads.count();
      worker.run(step / y.time, head / heads.group, head % heads.group, step % y.time);
    }
  });
}

}  // namespace sl::ops
