#include "ops/associative_scan.h"

#include <algorithm>

#include "kernels/state_space.h"
#include "ops/elementwise.h"

namespace sl::ops {
namespace {

// Lanes are split at multiples of this many, so that each part has whole vectors and cache lines.
constexpr int64_t kGroup = 16;

// Minimum work of a part of time, in numbers computed, for which running it twice pays.
constexpr int64_t kTimeWork = 32 * kThreadWork;

// The number of parts into which the lanes and the steps of an item are split.
struct Cuts {
  bool on_threads = false;
  int64_t lanes = 1;
  int64_t time = 1;
};

Cuts cuts_of(const Run& run, const ScanShape& shape) {
  const int64_t threads = run.parallel().num_threads();
  const int64_t work = shape.time * shape.lanes * shape.cost;
  if (threads == 1 || shape.batch * work <= kThreadWork) return {};
  Cuts cuts{true, 1, 1};
  cuts.lanes = std::min({ceil_div(shape.lanes, kGroup), ceil_div(2 * threads, shape.batch),
                         ceil_div(work, kThreadWork)});
  // All parts of time except the first and the last run twice, so splitting into one part more than
  // there are threads takes the time of two parts.
  const int64_t free = threads / (shape.batch * cuts.lanes);
  const int64_t maximum = work / cuts.lanes / kTimeWork;
  if (shape.cuts_time && free >= 2 && maximum >= 3) cuts.time = std::min(free + 1, maximum);
  return cuts;
}

class Scan {
 public:
  Scan(Run& run, const ScanShape& shape, const LinearRecurrence& recurrence)
      : run_(run),
        shape_(shape),
        recurrence_(recurrence),
        cuts_(cuts_of(run, shape)),
        part_scratch_(shape.scratch *
                      std::min(shape.lanes, ceil_div(groups(), cuts_.lanes) * kGroup)),
        scratch_(run.scratch<float>(shape.batch, cuts_.lanes, at_once(), part_scratch_)) {}

  void run(float* state) { cuts_.time == 1 ? run_in_order(state) : run_cut(state); }

 private:
  void run_in_order(float* state) {
    each(0, 1, [&](const ScanPart& part, int64_t, float* scratch) {
      recurrence_.scan(part, state_of(state, 0, part.item), scratch);
    });
  }

  void run_cut(float* state) {
    // The final states of all parts of time except the last.
    const int64_t ends = cuts_.time - 1, size = shape_.batch * item_size();
    auto* end = run_.scratch<float>(ends, size);
    auto* decay = run_.scratch<float>(ends, size);
    std::copy_n(state, size, end);
    std::fill(end + size, end + ends * size, 0.0f);
    each(0, ends, [&](const ScanPart& part, int64_t i, float* scratch) {
      if (i == 0) {
        recurrence_.scan(part, state_of(end, i, part.item), scratch);
      } else {
        recurrence_.reduce(part, state_of(end, i, part.item), state_of(decay, i, part.item),
                           scratch);
      }
    });
    std::copy_n(end, size, state);
    for (int64_t i = 1; i < ends; ++i) {
      for (int64_t b = 0; b < shape_.batch; ++b) {
        recurrence_.carry(state_of(decay, i, b), item_size(), state_of(end, i, b),
                          state_of(state, 0, b));
      }
    }
    each(1, cuts_.time, [&](const ScanPart& part, int64_t i, float* scratch) {
      recurrence_.scan(part, state_of(end, i - 1, part.item), scratch);
    });
    std::copy_n(end + (ends - 1) * size, size, state);
  }

  int64_t groups() const { return ceil_div(shape_.lanes, kGroup); }
  int64_t item_size() const { return shape_.planes * shape_.lanes; }
  // Number of parts of time that run in parallel.
  int64_t at_once() const { return std::max<int64_t>(1, cuts_.time - 1); }

  float* state_of(float* states, int64_t part, int64_t item) const {
    return states + (part * shape_.batch + item) * item_size();
  }

  // Calls fn(part, i, scratch) for parts [from, to) of time, with i as the part's index, of all
  // lanes and items.
  template <typename Fn>
  void each(int64_t from, int64_t to, Fn&& fn) const {
    const int64_t parts = to - from, count = shape_.batch * cuts_.lanes * parts;
    const auto task = [&](int64_t at) {
      const int64_t i = from + at % parts, lane = at / parts % cuts_.lanes;
      const auto lane_at = [&](int64_t k) {
        return std::min(shape_.lanes, groups() * k / cuts_.lanes * kGroup);
      };
      const auto time_at = [&](int64_t k) { return shape_.time * k / cuts_.time; };
      fn(ScanPart{at / parts / cuts_.lanes, lane_at(lane), lane_at(lane + 1), time_at(i),
                  time_at(i + 1)},
         i, scratch_ + at * part_scratch_);
    };
    if (cuts_.on_threads) {
      run_.parallel().each(count, task);
    } else {
      for (int64_t at = 0; at < count; ++at) task(at);
    }
  }

  Run& run_;
  const ScanShape& shape_;
  const LinearRecurrence& recurrence_;
  Cuts cuts_;
  int64_t part_scratch_;
  float* scratch_;
};

}  // namespace

void LinearRecurrence::carry(const float* decay, int64_t size, float* end, float* state) const {
  kernels::varying_scan(decay, end, size, 0, size, 1, end, state);
}

void associative_scan(Run& run, const ScanShape& shape, const LinearRecurrence& recurrence,
                      float* state) {
  Scan(run, shape, recurrence).run(state);
}

}  // namespace sl::ops
