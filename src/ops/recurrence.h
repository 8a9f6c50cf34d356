// Runs a gated recurrence over time on the run's threads, each of which computes some of the units.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/crew.h"
#include "core/lockstep.h"
#include "ops/linear.h"

namespace sl::ops {

// The units [begin, end) of a layer.
struct Units {
  int64_t begin;
  int64_t end;

  int64_t size() const { return end - begin; }
};

// Number of parts into which `units` are split that share a product with `weights` weights. It is
// more than one only if the run has threads and the product is worth synchronizing them.
int64_t unit_parts(const Run& run, int64_t units, int64_t weights);
// Units of part i of unit_parts() parts. Each part has whole groups of columns.
Units unit_part(int64_t units, int64_t parts, int64_t i);

// Number of steps, of `rows` rows each, whose input products are computed at once, so few that the
// results stay in cache until they are used. All steps if only this product runs on threads.
int64_t steps_at_once(const Run& run, int64_t steps, int64_t rows, int64_t parts);

// A recurrence in float32 whose units can be computed apart from each other. It never changes.
class UnitRecurrence {
 public:
  struct Sizes {
    int64_t inputs;
    int64_t units;
    int64_t gates;  // floats of the input projection of a row: gates side by side, `units` each
    bool has_c;
  };
  virtual Sizes unit_sizes() const = 0;
  // Computes z [rows, gates], which x [rows, inputs] alone contributes to some units.
  virtual void project_units(const float* x, int64_t rows, Units some, float* z) const = 0;
  // Advances some units of `rows` rows by one step: overwrites c with the next c, and computes
  // next_h from h. Overwrites z and scratch, [rows, gates].
  virtual void advance_units(float* z, int64_t rows, Units some, float* c, const float* h,
                             float* next_h, float* scratch) const = 0;

 protected:
  ~UnitRecurrence() = default;
};

// The steps of a recurrence, as its layer has them.
class RecurrentSteps {
 public:
  // The x of row i of a step, of which step t has the first rows(t) of the batch. Other rows keep
  // their carry.
  virtual int64_t rows(int64_t t) const = 0;
  virtual const float* x(int64_t t, int64_t i) const = 0;
  // Whether row i keeps its carry in step t. Its x may be anything.
  virtual bool keeps(int64_t t, int64_t i) const = 0;
  // Whether all rows take part in all steps.
  virtual bool has_all_rows() const = 0;
  // Takes c (or null) and h, [rows, units], of the rows [first, end) after step t.
  virtual void take(int64_t t, int64_t first, int64_t end, const float* c,
                    const float* h) const = 0;

 protected:
  ~RecurrentSteps() = default;
};

// Into how many parts threads divide a recurrence.
struct RecurrenceParts {
  int64_t count = 1;
  bool by_rows = false;  // of the batch; else by units
};
// Divides by rows where there are many, and each thread keeps all weights in its cache.
RecurrenceParts recurrence_parts(const Run& run, const UnitRecurrence::Sizes& sizes,
                                 const RecurrentSteps& steps, int64_t batch, int64_t unit_parts);

// Runs steps of a recurrence on the library's own threads, which share the units or the rows.
class SharedRecurrence {
 public:
  // The other arguments must outlive it.
  SharedRecurrence(const Run& run, const UnitRecurrence& recurrence, const RecurrentSteps& steps,
                   int64_t batch, int64_t count, const RecurrenceParts& parts);

  // Whether there are threads.
  bool has_threads() const { return turn_ && turn_->crew(); }
  // Runs some steps from `t` on, and advances c (or null) and h, [batch, units]. Returns their
  // number; 0 if the caller has to run the next steps, because a thread is late.
  int64_t run(int64_t t, float* c, float* h);
  // Number of steps that the caller then runs before it tries again.
  int64_t steps_alone() const { return steps_alone_; }

 private:
  struct Job;
  size_t fill(std::byte* memory, int64_t t, int64_t steps, const float* c, const float* h,
              Job** out) const;
  int64_t run_job(Crew& crew, const Job* jobs, int64_t steps) const;

  const UnitRecurrence& recurrence_;
  const RecurrentSteps& steps_;
  const UnitRecurrence::Sizes sizes_;
  const RecurrenceParts parts_;
  int64_t batch_, count_;
  int64_t at_once_ = 1;
  int64_t steps_alone_ = 1;
  std::optional<Parallel::Turn> turn_;
};

// Some steps, one after the other: [begin, end).
struct StepSpan {
  int64_t begin;
  int64_t end;
};

// Calls fn(range, step, Units) for all steps in order, with the units of each part, but for those
// that share(t), called with the next step, runs on threads: it returns their number. A range has
// all steps or, if there are such threads, those between two calls. `shared` may be null.
template <typename Share, typename Fn>
void recur(const Run& run, const SharedRecurrence* shared, int64_t steps, int64_t units,
           int64_t parts, Share&& share, Fn&& fn) {
  const StepSpan all{0, steps};
  if (shared && shared->has_threads()) {
    for (int64_t t = 0; t < steps;) {
      while (const int64_t count = share(t)) t += count;
      const StepSpan alone{t, std::min(steps, t + shared->steps_alone())};
      for (; t < alone.end; ++t) fn(alone, t, Units{0, units});
    }
    return;
  }
  if (parts == 1) {
    for (int64_t t = 0; t < steps; ++t) fn(all, t, Units{0, units});
    return;
  }
  in_lockstep(run.parallel(), steps, parts,
              [&](int64_t t, int64_t i) { fn(all, t, unit_part(units, parts, i)); });
}

// Like linear.apply, but only for the units `some`. The outputs are gates side by side, `units`
// wide each.
void apply_gates(const Run& run, const Linear& linear, int64_t units, Units some, const float* x,
                 int64_t x_stride, int64_t rows, const float* bias, bool accumulate, float* y,
                 int64_t y_stride);
// Like linear.apply_columns, but for the gates of the units `some`.
void apply_gates(const Linear& linear, int64_t units, Units some, const float* x, int64_t x_stride,
                 int64_t rows, const float* bias, bool accumulate, float* y, int64_t y_stride);

}  // namespace sl::ops
