// Runs a gated recurrence over time on the run's threads, each of which computes some of the units.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "core/lockstep.h"
#include "ops/linear.h"

namespace sl::ops {

// The units [begin, end) of a layer.
struct Units {
  int64_t begin;
  int64_t end;

  int64_t size() const { return end - begin; }
};

// Whose turn it is to go through the weights of a layer from the end: that of every second step. A
// step finds in the cache what the one before has read last, even one of another stream. Results do
// not depend on it.
class Turn {
 public:
  bool take() const {
    const bool turn = turn_.load(std::memory_order_relaxed);
    turn_.store(!turn, std::memory_order_relaxed);
    return turn;
  }

 private:
  // On a cache line of its own, since all threads that run the layer write to it.
  alignas(64) mutable std::atomic<bool> turn_ = false;
};

// Number of parts into which `units` are split that share a product with `weights` weights. It is
// more than one only if the run has threads and the product is worth synchronizing them.
int64_t unit_parts(const Run& run, int64_t units, int64_t weights);
// Units of part i of unit_parts() parts. Each part has whole groups of columns.
Units unit_part(int64_t units, int64_t parts, int64_t i);

// Number of steps, of `rows` rows each, whose input products are computed at once, so few that the
// results stay in cache until they are used. All steps if only this product runs on threads.
int64_t steps_at_once(const Run& run, int64_t steps, int64_t rows, int64_t parts);

// Calls fn(step, Units) for all steps in order, with the units of each part.
template <typename Fn>
void recur(const Run& run, int64_t steps, int64_t units, int64_t parts, Fn&& fn) {
  if (parts == 1) {
    for (int64_t t = 0; t < steps; ++t) fn(t, Units{0, units});
    return;
  }
  in_lockstep(run.parallel(), steps, parts,
              [&](int64_t t, int64_t i) { fn(t, unit_part(units, parts, i)); });
}

// Like linear.apply, but only for the units `some`. The outputs are gates side by side, `units`
// wide each.
void apply_gates(const Run& run, const Linear& linear, int64_t units, Units some, const float* x,
                 int64_t x_stride, int64_t rows, const float* bias, bool accumulate, float* y,
                 int64_t y_stride);

}  // namespace sl::ops
