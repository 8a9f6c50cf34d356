#include "testing/probe.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

namespace sl::testing {
namespace {

constexpr int64_t kMaxTime = 512;
constexpr int64_t kMaxProbes = 48;

using sequence_layers::ReceptiveField;

bool contains(const ReceptiveField& field, int64_t offset) {
  return field.exists && field.start <= offset && offset <= field.end;
}

std::string text_of(const ReceptiveField& field) {
  if (!field.exists) return "none";
  const auto bound = [](int64_t value) {
    if (value == SL_INFINITE) return std::string("inf");
    return value == -SL_INFINITE ? std::string("-inf") : std::to_string(value);
  };
  return "[" + bound(field.start) + ", " + bound(field.end) + "]";
}

// An input length that shows both ends of the field, unless they are too far away.
int64_t probe_time(const ReceptiveField& field, int64_t time, int64_t block) {
  int64_t length = 1;
  if (field.exists && field.start != -SL_INFINITE) length -= std::min<int64_t>(0, field.start);
  if (field.exists && field.end != SL_INFINITE) length += std::max<int64_t>(0, field.end);
  const int64_t wanted = std::min(std::max(time, 2 * length), std::max(time, kMaxTime));
  return (wanted + block - 1) / block * block;
}

// An input like the given one, but with batch 1, all steps valid, and constants of matching length.
Input probe_input(const Input& like, int64_t time, std::mt19937& rng) {
  auto valid = [&](const Tensor& x, int64_t steps) {
    std::vector<int64_t> dims = x.dims;
    dims[0] = 1;
    dims[1] = steps;
    return random_sequence(x.dtype, dims, rng);
  };
  Input out = like;
  out.x = valid(like.x, time);
  for (NamedTensor& constant : out.constants) {
    Tensor& value = constant.value;
    if (value.is_array) {
      value.bytes.resize(value.bytes.size() / static_cast<size_t>(value.dims[0]));
      value.dims[0] = 1;
    } else {
      value = valid(value, value.time() == like.x.time() ? time : value.time());
    }
  }
  return out;
}

// Whether step t differs by more than rounding, which FFTs and blocked sums spread to all steps.
bool changed(const Tensor& a, const Tensor& b, int64_t t, double threshold) {
  const int64_t n = a.step_size();
  for (int64_t i = t * n; i < (t + 1) * n; ++i) {
    if (!(std::abs(a.at(i) - b.at(i)) <= threshold)) return true;
  }
  return false;
}

class Prober {
 public:
  Prober(const Layer& layer, Input input, double relative)
      : layer_(layer), input_(std::move(input)), fields_(layer.receptive_field_per_step()) {
    std::tie(numerator_, denominator_) = layer.output_ratio();
    before_ = apply(layer, input_);
    threshold_ = relative * (1 + largest_magnitude(before_));
  }

  // Changes input step i. Returns an error text if an output outside its field changed.
  std::string probe(int64_t i, std::mt19937& rng) {
    Input moved = input_;
    std::normal_distribution<double> normal;
    const int64_t n = moved.x.step_size();
    for (int64_t k = i * n; k < (i + 1) * n; ++k) moved.x.set(k, {normal(rng), normal(rng)});
    const Tensor after = apply(layer_, moved);
    for (int64_t j = 0; j < std::min(after.time(), before_.time()); ++j) {
      if (!before_.valid(0, j) || !changed(before_, after, j, threshold_)) continue;
      const int64_t offset = i - j * denominator_ / numerator_;
      start_ = std::min(start_.value_or(offset), offset);
      end_ = std::max(end_.value_or(offset), offset);
      const ReceptiveField& field = fields_[static_cast<size_t>(j) % fields_.size()];
      if (!contains(field, offset)) {
        return "output step " + std::to_string(j) + " changes with input step " +
               std::to_string(i) + ", offset " + std::to_string(offset) + ", outside its field " +
               text_of(field);
      }
    }
    return "";
  }

  std::string observed() const {
    return text_of({start_.has_value(), start_.value_or(0), end_.value_or(0)});
  }

 private:
  const Layer& layer_;
  Input input_;
  std::vector<ReceptiveField> fields_;
  int64_t numerator_ = 1, denominator_ = 1;
  Tensor before_;
  double threshold_ = 0;
  std::optional<int64_t> start_, end_;
};

}  // namespace

Probe probe_receptive_field(const Layer& layer, const Input& input, Tolerance tolerance,
                            const std::function<void(double)>& progress) {
  const ReceptiveField field = layer.receptive_field();
  if (contains(field, -SL_INFINITE) && contains(field, SL_INFINITE)) return {"", "unbounded"};
  const int64_t time = probe_time(field, input.x.time(), layer.block_size());
  std::mt19937 rng(1);
  Prober prober(layer, probe_input(input, time, rng), std::max(1e-4, tolerance.relative));
  Probe probe;
  // If there are too many steps to probe, the stride is odd: an even one would miss phases of the
  // block.
  const int64_t stride = time <= kMaxProbes ? 1 : (time / kMaxProbes) | 1;
  for (int64_t i = 0; i < time && probe.reason.empty(); i += stride) {
    if (progress) progress(static_cast<double>(i) / static_cast<double>(time));
    probe.reason = prober.probe(i, rng);
  }
  probe.note = "declared " + text_of(field) + ", seen " + prober.observed() + " over " +
               std::to_string(time) + " steps";
  return probe;
}

}  // namespace sl::testing
