// ReduceTime: a statistic of the valid steps so far or of the whole sequence, separately for each
// channel.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "layers/builder.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

enum class Statistic { kMean, kSum, kMax, kMin, kStd, kVariance, kLast };
enum class Extent { kRunning, kFinal, kGlobal };

// Statistics of the channels of one item, in the dtype in which they are computed: float32 for
// bfloat16 and float16.
struct Totals {
  // The sum and its rounding error, the mean and the sum of squared distances from it, or the
  // extreme or last value.
  std::byte* value;
  float* error;
  int32_t* count;  // of valid steps
};

// A statistic over inputs of one dtype.
struct TimeStatistic {
  Statistic statistic;
  int64_t correction;
  DType input;

  bool is_moment() const {
    return statistic == Statistic::kStd || statistic == Statistic::kVariance;
  }
  bool is_sum() const { return statistic == Statistic::kMean || statistic == Statistic::kSum; }
  // The dtype of the running value. Sums of integers wrap, as sums over channels do.
  DType kept() const {
    if (is_half(input) || is_moment()) return DType::kFloat32;
    if (statistic == Statistic::kMean && !is_inexact(input)) return DType::kFloat32;
    return is_sum() && !is_inexact(input) ? DType::kInt32 : input;
  }
  DType output() const {
    if (is_half(input)) return input;
    return kept();
  }
  bool has_error() const { return is_moment() || (is_sum() && kept() != DType::kInt32); }
  // Floats of the error for one channel.
  int64_t error_size() const { return kept() == DType::kComplex64 ? 2 : 1; }
};

// total += x, with the rounding error of all additions so far in `error`.
void add_exactly(float x, float& total, float& error) {
  const float sum = total + x;
  const bool is_larger = std::abs(total) >= std::abs(x);
  error += is_larger ? (total - sum) + x : (x - sum) + total;
  total = sum;
}

template <typename T>
bool replaces(Statistic statistic, const T& x, const T& best) {
  if constexpr (std::is_same_v<T, float>) {
    if (std::isnan(x)) return true;
  }
  return statistic == Statistic::kMax ? ops::less(best, x) : ops::less(x, best);
}

// Takes one step x, in the dtype that is kept, into the totals of `size` channels.
void take(const TimeStatistic& kind, const std::byte* x, int64_t size, const Totals& totals) {
  const int32_t count = *totals.count;
  if (count < std::numeric_limits<int32_t>::max()) ++*totals.count;
  if (kind.is_moment()) {
    // Welford's recurrence.
    const auto* in = reinterpret_cast<const float*>(x);
    auto* mean = reinterpret_cast<float*>(totals.value);
    const auto n = static_cast<float>(*totals.count);
    for (int64_t i = 0; i < size; ++i) {
      const float before = in[i] - mean[i];
      mean[i] += before / n;
      totals.error[i] += before * (in[i] - mean[i]);
    }
    return;
  }
  if (kind.has_error()) {
    const auto* in = reinterpret_cast<const float*>(x);
    auto* total = reinterpret_cast<float*>(totals.value);
    for (int64_t i = 0; i < size * kind.error_size(); ++i)
      add_exactly(in[i], total[i], totals.error[i]);
    return;
  }
  if (kind.is_sum()) {
    const auto* in = reinterpret_cast<const uint32_t*>(x);
    auto* total = reinterpret_cast<uint32_t*>(totals.value);
    for (int64_t i = 0; i < size; ++i) total[i] += in[i];
    return;
  }
  if (count == 0 || kind.statistic == Statistic::kLast) {
    std::memcpy(totals.value, x, static_cast<size_t>(size) * size_of(kind.kept()));
    return;
  }
  ops::with_element(kind.kept(), [&](auto element) {
    using T = typename decltype(element)::Type;
    const auto* in = reinterpret_cast<const T*>(x);
    auto* best = reinterpret_cast<T*>(totals.value);
    for (int64_t i = 0; i < size; ++i)
      if (replaces(kind.statistic, in[i], best[i])) best[i] = in[i];
  });
}

// The statistic of the totals, in the dtype that is kept. `out` may be the totals' value.
void finish(const TimeStatistic& kind, const Totals& totals, int64_t size, std::byte* out) {
  if (!kind.has_error()) {
    std::memcpy(out, totals.value, static_cast<size_t>(size) * size_of(kind.kept()));
    return;
  }
  auto* y = reinterpret_cast<float*>(out);
  const auto* value = reinterpret_cast<const float*>(totals.value);
  const auto n = static_cast<float>(*totals.count);
  if (kind.is_moment()) {
    const float degrees = n - static_cast<float>(kind.correction);
    for (int64_t i = 0; i < size; ++i) {
      const float variance =
          degrees > 0 ? totals.error[i] / degrees : std::numeric_limits<float>::quiet_NaN();
      y[i] = kind.statistic == Statistic::kStd ? std::sqrt(variance) : variance;
    }
    return;
  }
  const float divisor = kind.statistic == Statistic::kMean ? n : 1;
  for (int64_t i = 0; i < size * kind.error_size(); ++i)
    y[i] = (value[i] + (std::isfinite(totals.error[i]) ? totals.error[i] : 0)) / divisor;
}

class ReduceTime final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : statistic(static_cast<Statistic>(config.choice(
              "statistic", {"mean", "sum", "max", "min", "std", "variance", "last"}, 0))),
          extent(static_cast<Extent>(config.choice("extent", {"running", "final", "global"}, 0))),
          correction(config.integer("correction", 0, 0)) {}
    Statistic statistic;
    Extent extent;
    int64_t correction;
  };

  ReduceTime(Fields fields, const Init&) : fields_(fields) {}

  bool supports_step() const override { return fields_.extent == Extent::kRunning; }
  std::string step_obstacle() const override {
    if (supports_step()) return {};
    return "its output needs the whole sequence, whose end a stream does not know: use \"extent\": "
           "\"running\", whose last step is that output";
  }
  ReceptiveFields receptive_field_per_step() const override {
    return {StepRange{-kInfinite, supports_step() ? 0 : kInfinite}};
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    const TimeStatistic kind = kind_of(input.dtype);
    if (kind.is_moment() && input.dtype == DType::kComplex64)
      fail(Code::kShape, "input {}: expected real numbers", to_string(input));
    return {kind.output(), input.shape};
  }
  int64_t do_output_length(int64_t time, const ChannelSpec&, const Constants&) const override {
    return fields_.extent == Extent::kFinal ? 1 : time;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (input.mode != Mode::kStep || !supports_step()) return;
    const TimeStatistic kind = kind_of(input.channels.dtype);
    Shape shape = input.channels.shape;
    shape.insert(0, input.batch);
    declaration.state("value", kind.kept(), shape);
    if (kind.has_error()) {
      if (kind.error_size() > 1) shape.push_back(kind.error_size());
      declaration.state("error", DType::kFloat32, shape);
    }
    declaration.index("count", {input.batch}, 0, std::numeric_limits<int32_t>::max());
  }

  Sequence do_layer(Run& run, const Sequence& x) const override {
    const TimeStatistic kind = kind_of(x.dtype);
    const int64_t size = x.frame_size();
    const size_t bytes = static_cast<size_t>(size) * size_of(kind.kept());
    auto* value = run.scratch<std::byte>(x.batch, static_cast<int64_t>(bytes));
    auto* error = run.scratch<float>(x.batch, size, kind.error_size());
    auto* count = run.scratch<int32_t>(x.batch);
    std::memset(value, 0, static_cast<size_t>(x.batch) * bytes);
    std::fill_n(error, x.batch * size * kind.error_size(), 0.0f);
    std::fill_n(count, x.batch, 0);
    return reduce(run, x, value, error, count);
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    const auto value = run.state<std::byte>("value");
    const auto error =
        kind_of(x.dtype).has_error() ? run.state<float>("error") : StateItems<float>();
    const auto count = run.state<int32_t>("count");
    return reduce(run, x, value, error, count);
  }

  TimeStatistic kind_of(DType input) const {
    return {fields_.statistic, fields_.correction, input};
  }

  Sequence reduce(Run& run, const Sequence& x, std::byte* value, float* error,
                  int32_t* count) const {
    const TimeStatistic kind = kind_of(x.dtype);
    const Sequence y =
        run.output({kind.output(), x.channels}, x.batch, do_output_length(x.time, x.spec(), {}));
    const int64_t size = x.frame_size(), kept = static_cast<int64_t>(size_of(kind.kept()));
    auto* frames = run.scratch<std::byte>(x.batch, 2, size, kept);
    run.parallel().count(x.size());
    run.parallel().each(x.batch, [&](int64_t b) {
      std::byte* const frame = frames + b * 2 * size * kept;
      const Totals totals{value + b * size * kept,
                          error ? error + b * size * kind.error_size() : nullptr, count + b};
      if (fields_.extent == Extent::kRunning) {
        run_item(kind, x, b, totals, frame, y);
      } else {
        whole_item(kind, x, b, totals, frame, y);
      }
    });
    return y;
  }

  // One step of x in the dtype that is kept; `frame` holds it if that is another one.
  static const std::byte* kept_frame(const TimeStatistic& kind, const Sequence& x, int64_t b,
                                     int64_t t, std::byte* frame) {
    if (x.dtype == kind.kept()) return x.frame(b, t);
    ops::convert(x.frame(b, t), x.dtype, frame, kind.kept(), x.frame_size());
    return frame;
  }
  static void write(const TimeStatistic& kind, const Totals& totals, std::byte* frame,
                    const Sequence& y, int64_t b, int64_t t) {
    const bool direct = y.dtype == kind.kept();
    finish(kind, totals, y.frame_size(), direct ? y.frame(b, t) : frame);
    if (!direct) ops::convert(frame, kind.kept(), y.frame(b, t), y.dtype, y.frame_size());
  }

  // `frames` has room for two steps.
  static void run_item(const TimeStatistic& kind, const Sequence& x, int64_t b,
                       const Totals& totals, std::byte* frames, const Sequence& y) {
    std::byte* const result = frames + static_cast<size_t>(x.frame_size()) * size_of(kind.kept());
    for (int64_t t = 0; t < x.time; ++t) {
      const bool valid = *x.mask_at(b, t) != 0;
      *y.mask_at(b, t) = valid ? 1 : 0;
      if (!valid) {
        std::memset(y.frame(b, t), 0, y.frame_bytes());
        continue;
      }
      take(kind, kept_frame(kind, x, b, t, frames), x.frame_size(), totals);
      write(kind, totals, result, y, b, t);
    }
  }
  // The statistic of all valid steps, in the only step or in all valid ones.
  void whole_item(const TimeStatistic& kind, const Sequence& x, int64_t b, const Totals& totals,
                  std::byte* frames, const Sequence& y) const {
    for (int64_t t = 0; t < x.time; ++t) {
      if (*x.mask_at(b, t)) take(kind, kept_frame(kind, x, b, t, frames), x.frame_size(), totals);
    }
    std::byte* const result = frames + static_cast<size_t>(x.frame_size()) * size_of(kind.kept());
    for (int64_t t = 0; t < y.time; ++t) {
      const bool valid =
          fields_.extent == Extent::kFinal ? *totals.count > 0 : *x.mask_at(b, t) != 0;
      *y.mask_at(b, t) = valid ? 1 : 0;
      if (valid) {
        write(kind, totals, result, y, b, t);
      } else {
        std::memset(y.frame(b, t), 0, y.frame_bytes());
      }
    }
  }

  Fields fields_;
};

SL_REGISTER_LAYER(ReduceTime);

}  // namespace
}  // namespace sl
