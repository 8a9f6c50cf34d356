// Which jobs of a caller are offered to threads that may have no CPU.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sl {

// A job that no thread is in time for costs its caller some percent: it copies inputs, divides its
// work and may wait. So where the CPUs turn out to be busy few jobs are offered, which find out
// when they no longer are.
class Offers {
 public:
  // Number of jobs in a row offered in vain after which only one in so many is offered, and after
  // twice as many one in the square of that number. A prime, so that a caller with a period does
  // not always get to offer the same one of its jobs.
  static constexpr int64_t kInVain = 7;
  // Number of jobs in vain that do not count because the threads slept, which takes them a while.
  static constexpr int64_t kAsleep = 16;

  // Whether to offer the next job, after so many in a row in vain.
  bool next(int64_t in_vain, bool asleep) {
    excused_ = asleep ? std::min(in_vain + 1, kAsleep) : std::min(excused_, in_vain);
    const int64_t busy = in_vain - excused_;
    if (busy < kInVain) return true;
    return ++skipped_ % (busy < 2 * kInVain ? kInVain : kInVain * kInVain) == 0;
  }

  // After so many in vain without a thread that has come now: they do not count.
  void renew(int64_t in_vain) { excused_ = in_vain; }

 private:
  int64_t skipped_ = 0;
  int64_t excused_ = 0;  // how many of the last jobs in vain do not count
};

}  // namespace sl
