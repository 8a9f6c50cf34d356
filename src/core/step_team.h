// Threads that help with the large products of steps, without a lock, an allocation or a system
// call of the stepping thread.
#pragma once

#include <atomic>
#include <cstddef>

#include "core/crew.h"

namespace sl {

// The threads wait for work by spinning. After a millisecond without any they sleep, and look for
// work in between; until then, or when another stream has them, a step does all of its work itself.
// They run only where a CPU would be idle otherwise, so that they take no time from any other
// thread, least of all from the one that steps. Threads of the application that lend themselves are
// the caller's business: they spin wherever they run, until they are told to stop.
class StepTeam {
 public:
  // Minimum work of a convolution, in multiply-adds, for which the threads pay.
  static constexpr int64_t kMinConvolution = int64_t{1} << 21;
  // Bytes of memory for a job.
  static constexpr size_t kMemoryBytes = size_t{1} << 21;

  // Returns zero when a thread that has lent itself is to go.
  using KeepGoing = int32_t (*)(void* data);

  // For steps on so many threads, that of the caller included, and at most so many besides that are
  // lent; 1 and 0: no team. Tests let the threads run on any CPU, since on a busy machine none is
  // idle for minutes.
  explicit StepTeam(int threads, bool on_idle_cpus_only = true, int max_lent = 0);
  StepTeam(const StepTeam&) = delete;
  StepTeam& operator=(const StepTeam&) = delete;
  ~StepTeam();

  // Maximum number of threads at work in a step.
  int threads() const { return threads_ + max_lent_; }
  int max_lent() const { return max_lent_; }
  // Starts the threads of this process unless they have been. For the time before the first step:
  // it may allocate.
  void start() const;
  // Works on jobs while keep_going(data), which is called between them. False if as many threads as
  // possible have lent themselves. Real-time if the team has been started.
  bool lend(KeepGoing keep_going, void* data) const;

  // The right to give the team one job after the other, if it is free. Real-time.
  class Turn {
   public:
    // A long job, which takes many times as long as the shortest sleep, is also given to threads
    // that sleep: they join in when they wake. If it were not, steps of one such job would last as
    // long as threads look for work, and could miss them each time.
    explicit Turn(const StepTeam& team, bool is_long = false);
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn();
    // kMemoryBytes for the next job; null if the caller has to work alone.
    std::byte* memory() const { return memory_; }
    Crew& crew() const { return *crew_; }

   private:
    Crew* crew_ = nullptr;
    std::byte* memory_ = nullptr;
    std::atomic<bool>* taken_ = nullptr;
  };

 private:
  class Pool;
  const int threads_;
  const int max_lent_;
  const bool on_idle_cpus_only_;
  mutable std::atomic<Pool*> pool_ = nullptr;  // owned
};

}  // namespace sl
