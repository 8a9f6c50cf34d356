// Runs consecutive steps on several threads, where each step needs the one before and its parts are
// independent.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/parallel.h"

namespace sl {

constexpr int64_t kMostLockstepParts = 64;

// Keeps track of which parts of which steps have been taken and finished. A thread takes its own
// part of a step, whose data it has in cache, and then parts that no thread has begun. So a single
// thread finishes everything, even if the others start late or never. A thread that lost its CPU in
// the middle of a part, so that others waited long, leaves the remaining steps to them.
class Lockstep {
 public:
  explicit Lockstep(int64_t parts) : parts_(parts) {}

  template <typename Fn>
  void work(int64_t own, int64_t steps, Fn&& fn) {
    working_.fetch_add(1);
    for (int64_t step = finished_.load(std::memory_order_acquire) / parts_; step < steps; ++step) {
      for (int64_t i = 0; i < parts_; ++i) {
        const int64_t part = own + i < parts_ ? own + i : own + i - parts_;
        if (!take(step, part)) continue;
        try {
          fn(step, part);
        } catch (...) {
          finished_.store(kAbandoned);  // no thread must wait for this part
          throw;
        }
        finished_.fetch_add(1, std::memory_order_acq_rel);
        if (late_.load(std::memory_order_relaxed) && leave()) return;
      }
      wait_for((step + 1) * parts_);
    }
  }

 private:
  // More than any number of parts, and far from an overflow.
  static constexpr int64_t kAbandoned = int64_t{1} << 62;

  // The number of steps of a part that have been taken, on its own cache line.
  struct alignas(64) Taken {
    std::atomic<int64_t> steps{0};
  };

  bool take(int64_t step, int64_t part) {
    std::atomic<int64_t>& taken = taken_[part].steps;
    int64_t expected = step;
    return taken.load(std::memory_order_relaxed) == step &&
           taken.compare_exchange_strong(expected, step + 1, std::memory_order_acq_rel);
  }
  // Spins, since the awaited parts have begun and take microseconds.
  void wait_for(int64_t finished);
  // Whether the thread may leave. The last working thread must stay.
  bool leave();

  int64_t parts_;
  alignas(64) std::atomic<int64_t> finished_{0};
  std::atomic<bool> late_{false};  // some thread has waited too long
  std::atomic<int64_t> working_{0};
  Taken taken_[kMostLockstepParts];
};

// Calls fn(step, part) for each part of each step, all parts of a step before any of the next. If
// one call throws, its exception is thrown here, and the results of other calls are undefined.
// `parts` is at most kMostLockstepParts, best one for each thread.
template <typename Fn>
void in_lockstep(const Parallel& parallel, int64_t steps, int64_t parts, Fn&& fn) {
  Lockstep lockstep(parts);
  parallel.each(parts, [&](int64_t own) { lockstep.work(own, steps, fn); });
}

}  // namespace sl
