// How a recurrence of gates goes over time: on the run's threads, each of which has some of the
// units.
#pragma once

#include <cstdint>
#include <utility>

#include "core/lockstep.h"
#include "ops/linear.h"

namespace sl::ops {

// Units [begin, end).
struct Units {
  int64_t begin;
  int64_t end;

  int64_t size() const { return end - begin; }
};

// In how many parts to compute `units` that share a product with that many weights: more than one
// only if the run has threads, which a step has not, and the product pays for their meeting.
int64_t unit_parts(const Run& run, int64_t units, int64_t weights);
// The i-th of those parts, of whole groups of columns.
Units unit_part(int64_t units, int64_t parts, int64_t i);

// For how many of the steps to make the inputs' part at once, of `rows` rows each: what is made
// stays in the cache until it is used. All, if the product alone goes to threads.
int64_t steps_at_once(const Run& run, int64_t steps, int64_t rows, int64_t parts);

// Calls fn(step, Units) for all steps, one after the other.
template <typename Fn>
void recur(const Run& run, int64_t steps, int64_t units, int64_t parts, Fn&& fn) {
  if (parts == 1) {
    for (int64_t t = 0; t < steps; ++t) fn(t, Units{0, units});
    return;
  }
  in_lockstep(run.parallel(), steps, parts,
              [&](int64_t t, int64_t i) { fn(t, unit_part(units, parts, i)); });
}

// linear.apply for those of the units alone: the outputs are gates side by side, of `units` each.
void apply_gates(const Run& run, const Linear& linear, int64_t units, Units some, const float* x,
                 int64_t x_stride, int64_t rows, const float* bias, bool accumulate, float* y,
                 int64_t y_stride);

}  // namespace sl::ops
