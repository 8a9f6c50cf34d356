// Linear recurrences h_t = a_t h_{t-1} + b_t over [batch, time, lanes] on a run's threads. Lanes
// are independent, so each thread takes some of them. If there are too few lanes for all threads,
// time is split as well, since linear steps can be composed in any grouping (Blelloch 1990, "Prefix
// sums and their applications").
#pragma once

#include <cstdint>

#include "core/run.h"

namespace sl::ops {

// A part of a scan: lanes [first, last) of one batch item through steps [begin, end).
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
  // Runs the recurrence over one part. `state` is the state [planes, lanes] of the part's item,
  // updated in place.
  virtual void scan(const ScanPart& part, float* state, float* scratch) const = 0;
  // Runs the recurrence over one part from a state of zeros, without outputs. `state` gets the
  // final state, `decay` [planes, lanes] the factor by which the part multiplies an initial state.
  virtual void reduce(const ScanPart& part, float* state, float* decay, float* scratch) const = 0;
  // state = decay * state + end, and `end` becomes the same values. Each array has the `size`
  // values of one item. This default takes real values; complex recurrences override it.
  virtual void carry(const float* decay, int64_t size, float* end, float* state) const;

 protected:
  ~LinearRecurrence() = default;
};

struct ScanShape {
  int64_t batch;
  int64_t time;
  int64_t lanes;
  int64_t planes = 1;     // values of state per lane: 2 for (re, im)
  int64_t cost = 1;       // numbers computed for each lane and step
  int64_t scratch = 0;    // floats of scratch per lane of a part
  bool cuts_time = true;  // whether time may be split among threads
};

// Runs the recurrence over all lanes and steps. `state` is [batch, planes, lanes], in place.
void associative_scan(Run& run, const ScanShape& shape, const LinearRecurrence& recurrence,
                      float* state);

}  // namespace sl::ops
