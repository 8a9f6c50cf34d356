#include "core/parallel.h"

#include <pthread.h>

#include <condition_variable>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "core/log.h"
#include "core/profile.h"

namespace sl {
namespace {

using Task = void (*)(void* context, int64_t i);

// Set on threads that are running a task, in which nested runs stay on the calling thread. It is in
// the static storage of each thread, since the first use of any other would allocate, with no way
// to report a failure.
[[gnu::tls_model("initial-exec")]] thread_local bool t_in_task = false;

// Number of forks between the first process and this one.
std::atomic<uint64_t> g_forks = 0;
const bool g_sees_forks =
    pthread_atfork(nullptr, nullptr, [] { g_forks.fetch_add(1, std::memory_order_relaxed); }) == 0;

#ifdef SL_SANITIZE_THREAD
// ThreadSanitizer ends the child of a fork that starts a thread.
constexpr bool kStartsThreadsAfterFork = false;
#else
constexpr bool kStartsThreadsAfterFork = true;
#endif

uint64_t forks() { return g_forks.load(std::memory_order_relaxed); }

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

// A condition variable whose owner may leave it undestroyed. In the child of a fork the threads
// that wait on it are gone, and its destructor would wait for them.
union Condition {
  Condition() : variable() {}
  ~Condition() {}
  std::condition_variable variable;
};

}  // namespace

// Worker threads that sleep between runs. It has one run at a time; concurrent callers take turns.
class ThreadPool {
 public:
  // `before` is the pool of the process from which this one was forked. It is kept until the end,
  // since other threads may be reading it.
  ThreadPool(int workers, ThreadPool* before) : before_(before) {
    threads_.reserve(static_cast<size_t>(workers));
    int error = 0;
    for (pthread_t thread; error == 0 && std::ssize(threads_) < workers;) {
      error = pthread_create(&thread, nullptr, work, this);
      if (error == 0) threads_.push_back(thread);
    }
    if (error != 0) {
      log(LogLevel::kWarning, "{} of {} threads could be started: layer-wise runs are slower: {}",
          threads_.size() + 1, workers + 1, std::strerror(error));
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  ~ThreadPool() {
    if (!is_of_this_process()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.variable.notify_all();
    for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
    wake_.variable.~condition_variable();
    done_.variable.~condition_variable();
  }

  // A pool made before a fork has no threads in this process, and its locks may never be released.
  bool is_of_this_process() const { return forks_ == forks(); }
  ThreadPool* before() const { return before_; }

  void run(int64_t count, Task task, void* context) {
    const std::lock_guard turn(turn_);
    {
      const std::lock_guard lock(mutex_);
      task_ = task;
      context_ = context;
      count_ = count;
      next_.store(0);
      busy_ = threads_.size();
      ++generation_;
    }
    wake_.variable.notify_all();
    take(task, context, count);
    std::unique_lock lock(mutex_);
    done_.variable.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void take(Task task, void* context, int64_t count) {
    t_in_task = true;
    for (int64_t i = next_.fetch_add(1); i < count; i = next_.fetch_add(1)) task(context, i);
    t_in_task = false;
  }

  static void* work(void* pool) {
    static_cast<ThreadPool*>(pool)->work();
    return nullptr;
  }

  void work() {
    uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.variable.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      const auto task = task_;
      void* const context = context_;
      const int64_t count = count_;
      lock.unlock();
      take(task, context, count);
      lock.lock();
      if (--busy_ == 0) done_.variable.notify_one();
    }
  }

  const uint64_t forks_ = forks();
  ThreadPool* const before_;
  std::vector<pthread_t> threads_;
  std::mutex turn_;
  std::mutex mutex_;
  Condition wake_;
  Condition done_;
  std::atomic<int64_t> next_{0};
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  size_t busy_ = 0;
  uint64_t generation_ = 0;
  bool stopping_ = false;
};

Parallel::Parallel(int num_threads, ParallelForHook hook, void* user_data)
    : num_threads_(num_threads), hook_(hook), user_data_(user_data) {
  if (hook || num_threads == 1) return;
  if (!g_sees_forks) throw std::bad_alloc();
  pool_ = new ThreadPool(num_threads - 1, nullptr);
}

void Parallel::record(int64_t flop, int64_t bytes) const { profile_->count(flop, bytes); }

Parallel::~Parallel() {
  for (ThreadPool* pool = pool_; pool;) {
    ThreadPool* const before = pool->before();
    delete pool;
    pool = before;
  }
}

ThreadPool* Parallel::pool() const {
  ThreadPool* pool = pool_.load(std::memory_order_acquire);
  if (pool->is_of_this_process()) return pool;
  if (!kStartsThreadsAfterFork) return nullptr;
  try {
    auto own = std::make_unique<ThreadPool>(num_threads_ - 1, pool);
    // If another thread has stored a pool first, that one is used.
    return pool_.compare_exchange_strong(pool, own.get(), std::memory_order_acq_rel) ? own.release()
                                                                                     : pool;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Parallel::run(int64_t count, Task task, void* context) const {
  ThreadPool* pool = nullptr;
  if (!hook_ && !t_in_task) pool = this->pool();
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

}  // namespace sl
