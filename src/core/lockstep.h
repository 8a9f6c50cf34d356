// Steps of which each needs the one before, each in parts that do not need one another.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/parallel.h"

namespace sl {

constexpr int64_t kMostLockstepParts = 64;

// Which parts of which steps are taken and done. A thread takes its own part of a step, which it
// finds in its cache, and then those that nobody has begun: so one thread alone gets everything
// done, whether others come late, or one after the other, or never. One whose CPU was taken from it
// in the midst of a part, so that others had to wait long, leaves the rest to them.
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
          finished_.store(kAbandoned);  // nobody is to wait for this part
          throw;
        }
        finished_.fetch_add(1, std::memory_order_acq_rel);
        if (late_.load(std::memory_order_relaxed) && leave()) return;
      }
      wait_for((step + 1) * parts_);
    }
  }

 private:
  // More parts than there are, and far from an overflow.
  static constexpr int64_t kAbandoned = int64_t{1} << 62;

  // How many steps of a part have been taken, on a cache line of its own.
  struct alignas(64) Taken {
    std::atomic<int64_t> steps{0};
  };

  bool take(int64_t step, int64_t part) {
    std::atomic<int64_t>& taken = taken_[part].steps;
    int64_t expected = step;
    return taken.load(std::memory_order_relaxed) == step &&
           taken.compare_exchange_strong(expected, step + 1, std::memory_order_acq_rel);
  }
  // Spins: what it waits for has begun and takes microseconds.
  void wait_for(int64_t finished);
  // Whether the thread may go: the last one may not.
  bool leave();

  int64_t parts_;
  alignas(64) std::atomic<int64_t> finished_{0};
  std::atomic<bool> late_{false};  // somebody has waited too long
  std::atomic<int64_t> working_{0};
  Taken taken_[kMostLockstepParts];
};

// Calls fn(step, part) for each of `parts` of each step, all parts of a step before any of the
// next. Once one throws the others may find anything, and what it threw is thrown here. At most
// kMostLockstepParts parts, best one a thread.
template <typename Fn>
void in_lockstep(const Parallel& parallel, int64_t steps, int64_t parts, Fn&& fn) {
  Lockstep lockstep(parts);
  parallel.each(parts, [&](int64_t own) { lockstep.work(own, steps, fn); });
}

}  // namespace sl
