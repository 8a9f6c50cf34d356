#include "ops/recurrence.h"

#include <algorithm>
#include <new>

#include "core/ratio.h"
#include "kernels/gemm.h"

namespace sl::ops {
namespace {

// Minimum weights of a part, which a thread reads in a few microseconds.
constexpr int64_t kGrain = 1 << 15;

// Rows of an input product that are enough for its row blocks to be efficient.
constexpr int64_t kRows = 96;

// Bytes of a shared job that stay in cache, and its maximum number of steps.
constexpr int64_t kJobBytes = int64_t{3} << 19;
constexpr int64_t kJobSteps = 512;

// Minimum rows of a thread that shares a recurrence by rows, and maximum weights of its recurrent
// product, which stay in the cache of each thread.
constexpr int64_t kRowsOfThread = 4;
constexpr int64_t kCachedWeights = 1 << 18;

// Multiply-adds of a caller alone between two attempts to share, about two milliseconds.
constexpr int64_t kAloneWork = int64_t{1} << 25;

// Divides memory into aligned arrays. With null memory it only counts.
class Division {
 public:
  explicit Division(std::byte* memory) : memory_(memory) {}
  template <typename T>
  T* take(int64_t count) {
    std::byte* const at = memory_ ? memory_ + used_ : nullptr;
    used_ += align_up(static_cast<size_t>(count) * sizeof(T));
    return reinterpret_cast<T*>(at);
  }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

}  // namespace

int64_t unit_parts(const Run& run, int64_t units, int64_t weights) {
  const int64_t threads = run.parallel().num_threads(), group = kernels::column_group();
  if (threads == 1 || units % group != 0) return 1;
  const int64_t parts = std::min({threads, units / group, weights / kGrain, kMostLockstepParts});
  return std::max<int64_t>(1, parts);
}

Units unit_part(int64_t units, int64_t parts, int64_t i) {
  const int64_t group = kernels::column_group(), groups = units / group;
  return {groups * i / parts * group, groups * (i + 1) / parts * group};
}

int64_t steps_at_once(const Run& run, int64_t steps, int64_t rows, int64_t parts) {
  if (parts == 1 && run.parallel().num_threads() > 1) return std::max<int64_t>(1, steps);
  return std::clamp<int64_t>(kRows / std::max<int64_t>(1, rows), 1, std::max<int64_t>(1, steps));
}

void apply_gates(const Run& run, const Linear& linear, int64_t units, Units some, const float* x,
                 int64_t x_stride, int64_t rows, const float* bias, bool accumulate, float* y,
                 int64_t y_stride) {
  if (some.size() == units) {
    linear.apply(run, x, x_stride, rows, bias, accumulate, y, y_stride);
  } else {
    apply_gates(linear, units, some, x, x_stride, rows, bias, accumulate, y, y_stride);
  }
}

void apply_gates(const Linear& linear, int64_t units, Units some, const float* x, int64_t x_stride,
                 int64_t rows, const float* bias, bool accumulate, float* y, int64_t y_stride) {
  if (some.size() == units) {
    linear.apply_columns(x, x_stride, rows, 0, linear.outputs(), bias, accumulate, y, y_stride);
    return;
  }
  for (int64_t gate = 0; gate < linear.outputs(); gate += units) {
    linear.apply_columns(x, x_stride, rows, gate + some.begin, gate + some.end, bias, accumulate, y,
                         y_stride);
  }
}

// Steps of a recurrence in memory of a crew, which workers may still be reading when it has ended.
// Nothing in it is written twice, but for the scratch of each thread.
struct SharedRecurrence::Job {
  const UnitRecurrence* recurrence;
  UnitRecurrence::Sizes sizes;
  int64_t first, batch, steps, parts;
  const int64_t* starts;  // first row of each step, and the number of rows
  const uint8_t* keeps;   // [steps, batch]
  const float* x;         // [rows, inputs]
  float* z;               // [rows, gates]
  float* h;               // [steps + 1, batch, units]
  float* c;               // the same, or null
  float* scratch;         // for each thread, [2, batch, gates]

  // The input products are the first step of a job.
  void part(int64_t step, int64_t part, int64_t thread) const {
    const Units some = unit_part(sizes.units, parts, part);
    if (step == 0) {
      recurrence->project_units(x, starts[steps], some, z);
    } else {
      advance(step - 1, some, scratch + thread * 2 * batch * sizes.gates);
    }
  }

  // All steps of all units.
  void all(int64_t thread, int64_t scratch_floats) const {
    const Units units{0, sizes.units};
    recurrence->project_units(x, starts[steps], units, z);
    for (int64_t k = 0; k < steps; ++k) advance(k, units, scratch + thread * scratch_floats);
  }

  void advance(int64_t k, Units some, float* own) const {
    const int64_t rows = starts[k + 1] - starts[k], units = sizes.units, size = batch * units;
    const float* from = z + starts[k] * sizes.gates;
    for (int64_t at = some.begin; at < rows * sizes.gates; at += units)
      std::copy_n(from + at, some.size(), own + at);
    const float* last = h + k * size;
    float* next = h + (k + 1) * size;
    float* next_c = c ? c + (k + 1) * size : nullptr;
    for (int64_t at = some.begin; c && at < size; at += units)
      std::copy_n(c + k * size + at, some.size(), next_c + at);
    recurrence->advance_units(own, rows, some, next_c, last, next, own + batch * sizes.gates);
    for (int64_t i = 0; i < batch; ++i) {
      const int64_t at = i * units + some.begin;
      if (i < rows && !keeps[k * batch + i]) continue;
      std::copy_n(last + at, some.size(), next + at);
      if (c) std::copy_n(c + k * size + at, some.size(), next_c + at);
    }
  }
};

RecurrenceParts recurrence_parts(const Run& run, const UnitRecurrence::Sizes& sizes,
                                 const RecurrentSteps& steps, int64_t batch, int64_t unit_parts) {
  const int64_t threads = run.parallel().num_threads();
  const int64_t weights = sizes.gates * sizes.units;
  const bool by_rows = threads > 1 && batch >= kRowsOfThread * threads &&
                       weights <= kCachedWeights && batch * weights >= threads * kGrain &&
                       steps.has_all_rows();
  if (by_rows) return {std::min(threads, Crew::kMaxParts), true};
  return {unit_parts, false};
}

SharedRecurrence::SharedRecurrence(const Run& run, const UnitRecurrence& recurrence,
                                   const RecurrentSteps& steps, int64_t batch, int64_t count,
                                   const RecurrenceParts& parts)
    : recurrence_(recurrence),
      steps_(steps),
      sizes_(recurrence.unit_sizes()),
      parts_(parts),
      batch_(batch),
      count_(count) {
  if (parts.count == 1 || batch == 0) return;
  turn_.emplace(run.parallel());
  const int64_t floats = batch * (sizes_.inputs + sizes_.gates + 2 * sizes_.units);
  at_once_ =
      std::clamp(kJobBytes / (floats * int64_t{sizeof(float)}), ceil_div(kRows, batch), kJobSteps);
  const int64_t work = batch * sizes_.gates * (sizes_.inputs + sizes_.units);
  steps_alone_ = std::clamp<int64_t>(kAloneWork / work, 1, at_once_);
}

// Copies into the memory all that the steps need, one job for each group of rows, or only counts
// its bytes.
size_t SharedRecurrence::fill(std::byte* memory, int64_t t, int64_t steps, const float* c,
                              const float* h, Job** out) const {
  Division division(memory);
  const int64_t groups = parts_.by_rows ? parts_.count : 1, units = sizes_.units;
  auto* jobs = division.take<Job>(groups);
  auto* scratch = division.take<float>(turn_->crew()->threads() * 2 * batch_ * sizes_.gates);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t first = batch_ * g / groups, batch = batch_ * (g + 1) / groups - first;
    auto* starts = division.take<int64_t>(steps + 1);
    auto* keeps = division.take<uint8_t>(steps * batch);
    auto* x = division.take<float>(steps * batch * sizes_.inputs);
    auto* z = division.take<float>(steps * batch * sizes_.gates);
    auto* all_h = division.take<float>((steps + 1) * batch * units);
    auto* all_c = sizes_.has_c ? division.take<float>((steps + 1) * batch * units) : nullptr;
    if (!memory) continue;
    starts[0] = 0;
    for (int64_t k = 0; k < steps; ++k) {
      const int64_t rows = parts_.by_rows ? batch : steps_.rows(t + k);
      starts[k + 1] = starts[k] + rows;
      for (int64_t i = 0; i < rows; ++i) {
        keeps[k * batch + i] = steps_.keeps(t + k, first + i);
        std::copy_n(steps_.x(t + k, first + i), sizes_.inputs, x + (starts[k] + i) * sizes_.inputs);
      }
    }
    std::copy_n(h + first * units, batch * units, all_h);
    if (all_c) std::copy_n(c + first * units, batch * units, all_c);
    new (jobs + g) Job{&recurrence_, sizes_, first, batch, steps, parts_.count, starts,
                       keeps,        x,      z,     all_h, all_c, scratch};
  }
  *out = jobs;
  return division.used();
}

// Returns the number of steps that are done.
int64_t SharedRecurrence::run_job(Crew& crew, const Job* jobs, int64_t steps) const {
  struct Groups {
    const Job* jobs;
    int64_t scratch_floats;
    void part(int64_t, int64_t part, int64_t thread) const {
      jobs[part].all(thread, scratch_floats);
    }
  };
  struct Work {
    const Job* job;
    void part(int64_t step, int64_t part, int64_t thread) const { job->part(step, part, thread); }
  };
  if (parts_.by_rows) {
    const Groups groups{jobs, 2 * batch_ * sizes_.gates};
    return crew.run_steps(groups, 1, parts_.count) * steps;
  }
  return std::max<int64_t>(0, crew.run_steps(Work{jobs}, steps + 1, parts_.count) - 1);
}

int64_t SharedRecurrence::run(int64_t t, float* c, float* h) {
  if (!has_threads() || t >= count_) return 0;
  const int64_t steps = std::min(at_once_, count_ - t), units = sizes_.units;
  Job* jobs = nullptr;
  Crew& crew = *turn_->crew();
  std::byte* const memory = crew.grown_memory(fill(nullptr, t, steps, c, h, &jobs));
  if (!memory) return 0;
  fill(memory, t, steps, c, h, &jobs);
  const int64_t done = run_job(crew, jobs, steps);
  for (int64_t g = 0; done > 0 && g < (parts_.by_rows ? parts_.count : 1); ++g) {
    const Job& job = jobs[g];
    const int64_t size = job.batch * units, end = job.first + job.batch;
    for (int64_t k = 1; k <= done; ++k)
      steps_.take(t + k - 1, job.first, end, job.c ? job.c + k * size : nullptr, job.h + k * size);
    std::copy_n(job.h + done * size, size, h + job.first * units);
    if (job.c) std::copy_n(job.c + done * size, size, c + job.first * units);
  }
  return done;
}

}  // namespace sl::ops
