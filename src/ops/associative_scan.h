// Linear recurrences h_t = a_t h_{t-1} + b_t of many lanes that do not need one another, on a run's
// threads. Each thread takes some of the lanes and, if these are too few for all threads, some of
// the time: linear steps can be composed in any grouping (Blelloch 1990, "Prefix sums and their
// applications").
#pragma once

#include <cstdint>

#include "core/run.h"

namespace sl::ops {

// The lanes [first, last) of one item, through the steps [begin, end).
struct ScanPart {
  int64_t item;
  int64_t first;
  int64_t last;
  int64_t begin;
  int64_t end;

  int64_t lanes() const { return last - first; }
  int64_t steps() const { return end - begin; }
};

class LinearRecurrence {
 public:
  // Runs the part. `state` is its item's, [planes, lanes], before and after.
  virtual void scan(const ScanPart& part, float* state, float* scratch) const = 0;
  // What the part makes of a state of zeros, without output; `decay`, [planes, lanes] too, is by
  // what it multiplies a state.
  virtual void reduce(const ScanPart& part, float* state, float* decay, float* scratch) const = 0;
  // state = decay state + end, and so is `end`; each is an item's, of `size` numbers. Of real ones
  // unless overridden.
  virtual void carry(const float* decay, int64_t size, float* end, float* state) const;

 protected:
  ~LinearRecurrence() = default;
};

struct ScanShape {
  int64_t batch;
  int64_t time;
  int64_t lanes;
  int64_t planes = 1;     // of an item's state
  int64_t cost = 1;       // numbers computed for each lane and step
  int64_t scratch = 0;    // floats that a part needs for each of its lanes
  bool cuts_time = true;  // if it may
};

// Runs all of it. `state` is [batch, planes, lanes].
void associative_scan(Run& run, const ScanShape& shape, const LinearRecurrence& recurrence,
                      float* state);

}  // namespace sl::ops
