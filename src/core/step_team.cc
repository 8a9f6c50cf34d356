#include "core/step_team.h"

#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>

#include "core/offers.h"
#include "core/spin.h"
#include "core/threads.h"

namespace sl {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// Time after the last job during which a thread spins.
constexpr microseconds kSpinTime{1000};
// A sleeping thread looks for work when it has slept for this share of its idle time, within
// limits.
constexpr int kSleepShare = 32;
constexpr microseconds kMinSleep{50};
constexpr microseconds kMaxSleep{10000};
// Number of pauses between two looks at the clock.
constexpr int kPauses = 32;

// Lets the calling thread run only on CPUs that would be idle.
void yield_to_others() {
  sched_param parameters{};
  sched_setscheduler(0, SCHED_IDLE, &parameters);
}

}  // namespace

// The threads of one process.
class StepTeam::Pool {
 public:
  // See pool_of_process().
  Pool(int workers, int max_lent, bool on_idle_cpus_only, Pool* before)
      : before_(before),
        workers_(workers),
        on_idle_cpus_only_(on_idle_cpus_only),
        crew_(workers, max_lent) {
    crew_.reserve(kMemoryBytes);
    threads_ = std::make_unique<Threads>(workers, run, this, "steps");
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    if (!is_of_this_process()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_.store(true, std::memory_order_relaxed);
    }
    wake_.variable.notify_all();
    threads_->join();
    wake_.variable.~condition_variable();
  }

  bool is_of_this_process() const { return threads_->are_of_this_process(); }
  Pool* before() const { return before_; }

  Crew& crew() { return crew_; }
  std::atomic<bool>& taken() { return taken_; }
  // Memory for a job of the caller, which then has to reset taken(); null if it must work alone.
  std::byte* try_take(bool is_long) {
    if (awake_.load(std::memory_order_relaxed) == 0) {
      calls_.fetch_add(1, std::memory_order_relaxed);
      if (!is_long || workers_ == 0) return nullptr;
    }
    if (taken_.load(std::memory_order_relaxed) || taken_.exchange(true, std::memory_order_acquire))
      return nullptr;
    const uint32_t joins = joins_.load(std::memory_order_relaxed);
    if (joins != seen_joins_) offers_.renew(crew_.in_vain());
    seen_joins_ = joins;
    const bool asleep = awake_.load(std::memory_order_relaxed) == 0;
    std::byte* const memory =
        offers_.next(crew_.in_vain(), asleep) ? crew_.memory(kMemoryBytes) : nullptr;
    if (!memory) taken_.store(false, std::memory_order_release);
    return memory;
  }

  bool lend(KeepGoing keep_going, void* data) {
    const Guest guest(*this);
    if (guest.worker == 0) return false;
    uint64_t seen = Crew::kNoJob;
    while (keep_going(data)) {
      if (!crew_.serve(guest.worker, &seen)) spin_pause();
    }
    return true;
  }

 private:
  // The place of a thread that has lent itself.
  struct Guest {
    explicit Guest(Pool& its_pool) : pool(its_pool), worker(pool.crew_.join()) {
      if (worker == 0) return;
      pool.joins_.fetch_add(1, std::memory_order_relaxed);
      pool.awake_.fetch_add(1, std::memory_order_relaxed);
    }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    ~Guest() {
      if (worker == 0) return;
      pool.awake_.fetch_sub(1, std::memory_order_relaxed);
      pool.crew_.leave(worker);
    }

    Pool& pool;
    const int worker;
  };

  static void* run(void* pool) {
    static_cast<Pool*>(pool)->work();
    return nullptr;
  }

  void work() {
    const int index = started_.fetch_add(1) + 1;
    if (on_idle_cpus_only_) yield_to_others();
    prctl(PR_SET_TIMERSLACK, 1);  // for short sleeps
    uint64_t seen = crew_.current();
    while (!stopping_.load(std::memory_order_relaxed)) {
      awake_.fetch_add(1, std::memory_order_relaxed);
      const Clock::time_point idle_since = spin(index, &seen);
      awake_.fetch_sub(1, std::memory_order_relaxed);
      sleep(idle_since, seen);
    }
  }

  // Works until there has been nothing to do for kSpinTime. Returns since when.
  Clock::time_point spin(int index, uint64_t* seen) {
    Clock::time_point last = Clock::now();
    while (true) {
      bool worked = false;
      for (int i = 0; i < kPauses; ++i) {
        worked |= crew_.serve(index, seen);
        spin_pause();
      }
      const Clock::time_point now = Clock::now();
      if (worked) last = now;
      if (now - last > kSpinTime || stopping_.load(std::memory_order_relaxed)) return last;
    }
  }

  void sleep(Clock::time_point idle_since, uint64_t seen) {
    const uint32_t calls = calls_.load(std::memory_order_relaxed);
    std::unique_lock lock(mutex_);
    while (!stopping_.load(std::memory_order_relaxed) && crew_.current() == seen &&
           calls_.load(std::memory_order_relaxed) == calls) {
      const auto idle =
          std::chrono::duration_cast<microseconds>(Clock::now() - idle_since) / kSleepShare;
      wake_.variable.wait_for(lock, std::clamp(idle, kMinSleep, kMaxSleep));
    }
  }

  Pool* const before_;
  const int workers_;
  const bool on_idle_cpus_only_;
  Crew crew_;
  std::mutex mutex_;
  Condition wake_;  // only the destructor notifies
  std::atomic<bool> stopping_{false};
  std::atomic<int> started_{0};
  // For whoever has the turn.
  Offers offers_;
  uint32_t seen_joins_ = 0;
  // Written by stepping threads.
  alignas(64) std::atomic<bool> taken_{false};
  std::atomic<uint32_t> calls_{0};
  // Threads that are there and do not sleep.
  alignas(64) std::atomic<int> awake_{0};
  std::atomic<uint32_t> joins_{0};  // of threads that lent themselves
  std::unique_ptr<Threads> threads_;
};

StepTeam::StepTeam(int threads, bool on_idle_cpus_only, int max_lent)
    : threads_(threads), max_lent_(max_lent), on_idle_cpus_only_(on_idle_cpus_only) {
  if (this->threads() > 1) require_fork_count();
}

StepTeam::~StepTeam() { delete_pools(pool_); }

void StepTeam::start() const {
  if (threads() == 1) return;
  pool_of_process(pool_, [this](Pool* before) {
    return std::make_unique<Pool>(threads_ - 1, max_lent_, on_idle_cpus_only_, before);
  });
}

bool StepTeam::lend(KeepGoing keep_going, void* data) const {
  start();
  Pool* pool = pool_.load(std::memory_order_acquire);
  return pool && pool->is_of_this_process() && pool->lend(keep_going, data);
}

StepTeam::Turn::Turn(const StepTeam& team, bool is_long) {
  Pool* pool = team.pool_.load(std::memory_order_acquire);
  if (!pool || !pool->is_of_this_process()) return;
  memory_ = pool->try_take(is_long);
  if (!memory_) return;
  crew_ = &pool->crew();
  taken_ = &pool->taken();
}

StepTeam::Turn::~Turn() {
  if (taken_) taken_->store(false, std::memory_order_release);
}

}  // namespace sl
