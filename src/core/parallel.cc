#include "core/parallel.h"

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "core/crew.h"
#include "core/denormals.h"
#include "core/profile.h"
#include "core/spin.h"
#include "core/threads.h"

namespace sl {
namespace {

using Task = void (*)(void* context, int64_t i);

// Set on threads that are running a task, in which nested runs stay on the calling thread. It is in
// the static storage of each thread, since the first use of any other would allocate, with no way
// to report a failure.
[[gnu::tls_model("initial-exec")]] thread_local bool t_in_task = false;

// A task that keeps its exception for the thread that requested the run. An exception must not
// leave a worker thread or pass through a caller's parallel_for.
class Guarded {
 public:
  Guarded(Task task, void* context) : task_(task), context_(context) {}

  static void run(void* guarded, int64_t i) noexcept { static_cast<Guarded*>(guarded)->run(i); }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void run(int64_t i) noexcept {
    try {
      task_(context_, i);
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }

  Task task_;
  void* context_;
  std::atomic<bool> failed_ = false;
  std::exception_ptr error_;
};

// Time after its last work during which a thread spins: while a run is going on, in whose next
// layer there may be work, and otherwise. To wake a sleeping thread takes about as long as the
// latter.
constexpr std::chrono::microseconds kActiveSpinTime{500};
constexpr std::chrono::microseconds kSpinTime{20};
// Number of pauses between two looks at the clock, and before a spinning thread yields its CPU.
constexpr int kPauses = 32;
constexpr int kSpins = 2048;

// The CPU that the calling thread runs on; -1: unknown.
int current_cpu() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves the calling thread to another CPU if it runs on that one. Linux may wake a thread on the
// CPU of the one that woke it although another CPU is idle, and leave both there for tens of
// milliseconds. The thread is not bound: it may move back.
void leave_cpu([[maybe_unused]] int cpu) {
#if defined(__linux__)
  if (cpu < 0 || sched_getcpu() != cpu) return;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<size_t>(cpu), &others);
  if (sched_setaffinity(0, sizeof(others), &others) != 0) return;
  sched_setaffinity(0, sizeof(allowed), &allowed);
#endif
}

}  // namespace

// Worker threads, which share one run at a time. Concurrent callers take turns.
class ThreadPool {
 public:
  // See pool_of_process().
  ThreadPool(int workers, ThreadPool* before)
      : before_(before), crew_(workers), threads_(workers, work, this, "layer-wise runs") {}
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  ~ThreadPool() {
    if (!is_of_this_process()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.variable.notify_all();
    threads_.join();
    wake_.variable.~condition_variable();
    done_.variable.~condition_variable();
  }

  // A pool made before a fork has no threads in this process, and its locks may never be released.
  bool is_of_this_process() const { return threads_.are_of_this_process(); }
  ThreadPool* before() const { return before_; }

  // Between these calls the threads spin.
  void enter() { active_.fetch_add(1); }
  void leave() { active_.fetch_sub(1); }

  // Between these calls the caller has the crew for itself.
  Crew& begin_turn() {
    turn_.lock();
    t_in_task = true;
    in_turn_ = true;
    wake();
    return crew_;
  }
  void end_turn() {
    in_turn_ = false;
    t_in_task = false;
    turn_.unlock();
  }

  void run(int64_t count, Task task, void* context) {
    const std::lock_guard turn(turn_);
    const uint64_t number = ((next_.load(std::memory_order_relaxed) >> kIndexBits) + 1)
                            << kIndexBits;
    // Closed while the fields change, so that no thread takes a task by those of two runs.
    next_.store(number | kClosed, std::memory_order_relaxed);
    task_.store(task, std::memory_order_release);
    context_.store(context, std::memory_order_release);
    count_.store(count, std::memory_order_release);
    float_modes_.store(FloatModes::get().bits(), std::memory_order_release);
    finished_.store(0, std::memory_order_relaxed);
    next_.store(number);
    wake();
    take(number, task, context, count);
    wait_for(count);
  }

 private:
  // The next task: the number of its run above, its index below.
  static constexpr int kIndexBits = 40;
  static constexpr uint64_t kClosed = (uint64_t{1} << kIndexBits) - 1;

  // Takes tasks of a run until there is none. Returns whether there was one.
  bool take(uint64_t number, Task task, void* context, int64_t count) {
    t_in_task = true;
    bool took = false;
    uint64_t next = next_.load(std::memory_order_relaxed);
    while (next - number < static_cast<uint64_t>(count)) {
      if (!next_.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel)) continue;
      took = true;
      task(context, static_cast<int64_t>(next - number));
      // Both are sequentially consistent: either the caller sees the task finished, or it is seen
      // to sleep.
      if (finished_.fetch_add(1) + 1 == count && caller_sleeps_.load()) {
        const std::lock_guard lock(mutex_);
        done_.variable.notify_one();
      }
      next = next_.load(std::memory_order_relaxed);
    }
    t_in_task = false;
    return took;
  }

  void wait_for(int64_t count) {
    for (int i = 0; i < kSpins; ++i) {
      if (finished_.load(std::memory_order_acquire) == count) return;
      spin_pause();
    }
    std::unique_lock lock(mutex_);
    caller_sleeps_.store(true);
    done_.variable.wait(lock, [&] { return finished_.load() == count; });
    caller_sleeps_.store(false);
  }

  // Wakes the threads that sleep. A thread counts itself before it looks for work for the last
  // time, so that either it sees the work or it is seen here.
  void wake() {
    if (sleepers_.load() == 0) return;
    caller_cpu_.store(current_cpu(), std::memory_order_relaxed);
    { const std::lock_guard lock(mutex_); }
    wake_.variable.notify_all();
  }

  static void* work(void* pool) {
    static_cast<ThreadPool*>(pool)->work();
    return nullptr;
  }

  // The last work of a thread.
  struct Seen {
    uint64_t run = 0;
    uint64_t job = 0;
  };

  void work() {
    const int index = started_.fetch_add(1) + 1;
    Seen seen;
    std::unique_lock lock(mutex_);
    while (true) {
      sleepers_.fetch_add(1);
      wake_.variable.wait(lock, [&] { return stopping_ || has_work(seen); });
      sleepers_.fetch_sub(1);
      if (stopping_) return;
      lock.unlock();
      leave_cpu(caller_cpu_.load(std::memory_order_relaxed));
      spin(index, &seen);
      lock.lock();
    }
  }

  bool has_work(const Seen& seen) const {
    return (next_.load() >> kIndexBits) != seen.run || crew_.current() != seen.job ||
           in_turn_.load();
  }

  bool serve(int index, Seen* seen) {
    bool worked = crew_.serve(index, &seen->job);
    const uint64_t next = next_.load(std::memory_order_acquire);
    if ((next >> kIndexBits) == seen->run || (next & kClosed) == kClosed) return worked;
    seen->run = next >> kIndexBits;
    const Task task = task_.load(std::memory_order_acquire);
    void* const context = context_.load(std::memory_order_acquire);
    const int64_t count = count_.load(std::memory_order_acquire);
    const FloatModes before = FloatModes::get();
    FloatModes(float_modes_.load(std::memory_order_acquire)).set();
    worked |= take(seen->run << kIndexBits, task, context, count);
    before.set();
    return worked;
  }

  // Works until there has been nothing to do for a while.
  void spin(int index, Seen* seen) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point last = Clock::now();
    for (int64_t spins = 0;; spins += kPauses) {
      bool worked = false;
      for (int i = 0; i < kPauses; ++i) {
        worked |= serve(index, seen);
        spin_pause();
      }
      const Clock::time_point now = Clock::now();
      if (worked) {
        last = now;
        spins = 0;
      }
      const bool active = active_.load(std::memory_order_relaxed) > 0;
      if (!in_turn_ && now - last > (active ? kActiveSpinTime : kSpinTime)) return;
      if (spins > kSpins) std::this_thread::yield();
    }
  }

  ThreadPool* const before_;
  std::mutex turn_;
  std::mutex mutex_;
  Condition wake_;
  Condition done_;
  bool stopping_ = false;
  std::atomic<int> started_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<int> active_{0};
  std::atomic<bool> in_turn_{false};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<int> caller_cpu_{-1};  // of the last caller that woke threads
  // The run. Threads may read its fields while the next one is written.
  std::atomic<Task> task_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int64_t> count_{0};
  std::atomic<uint64_t> float_modes_{0};
  alignas(64) std::atomic<uint64_t> next_{kClosed};
  alignas(64) std::atomic<int64_t> finished_{0};
  Crew crew_;
  Threads threads_;
};

Parallel::Parallel(int num_threads, ParallelForHook hook, void* user_data)
    : num_threads_(num_threads), hook_(hook), user_data_(user_data) {
  if (hook || num_threads == 1) return;
  require_fork_count();
  pool_ = new ThreadPool(num_threads - 1, nullptr);
}

void Parallel::record(int64_t flop, int64_t bytes) const { profile_->count(flop, bytes); }

Parallel::~Parallel() { delete_pools(pool_); }

ThreadPool* Parallel::pool() const {
  if (!pool_.load(std::memory_order_acquire)) return nullptr;
  try {
    return pool_of_process(pool_, [this](ThreadPool* before) {
      return std::make_unique<ThreadPool>(num_threads_ - 1, before);
    });
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Parallel::run(int64_t count, Task task, void* context) const {
  ThreadPool* const pool = t_in_task ? nullptr : this->pool();
  if (!hook_ && !pool) {
    for (int64_t i = 0; i < count; ++i) task(context, i);
    return;
  }
  Guarded guarded(task, context);
  if (hook_) {
    hook_(user_data_, count, Guarded::run, &guarded);
  } else {
    pool->run(count, Guarded::run, &guarded);
  }
  guarded.rethrow();
}

Parallel::Active::Active(const Parallel& parallel) : pool_(parallel.pool()) {
  if (pool_) pool_->enter();
}

Parallel::Active::~Active() {
  if (pool_) pool_->leave();
}

Parallel::Turn::Turn(const Parallel& parallel) : pool_(t_in_task ? nullptr : parallel.pool()) {
  if (pool_) crew_ = &pool_->begin_turn();
}

Parallel::Turn::~Turn() {
  if (pool_) pool_->end_turn();
}

}  // namespace sl
