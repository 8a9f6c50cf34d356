// Threads that a process starts once and joins, and that a fork leaves behind.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <vector>

namespace sl {

// Number of forks between the first process and this one.
uint64_t forks();
// Fails with std::bad_alloc if forks cannot be counted.
void require_fork_count();

#ifdef SL_SANITIZE_THREAD
// ThreadSanitizer ends the child of a fork that starts a thread.
constexpr bool kStartsThreadsAfterFork = false;
#else
constexpr bool kStartsThreadsAfterFork = true;
#endif

class Threads {
 public:
  // Starts `count` threads that run work(context). If the system refuses to start them all, a
  // warning says so, with the kind of runs that are slower for it.
  Threads(int count, void* (*work)(void*), void* context, const char* runs);
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  // A process does not have the threads that were started before it was forked.
  bool are_of_this_process() const { return forks_ == forks(); }
  size_t count() const { return threads_.size(); }
  void join();

 private:
  const uint64_t forks_ = forks();
  std::vector<pthread_t> threads_;
};

// A condition variable whose owner may leave it undestroyed. In the child of a fork the threads
// that wait on it are gone, and its destructor would wait for them.
union Condition {
  Condition() : variable() {}
  ~Condition() {}
  std::condition_variable variable;
};

// Pools of threads, of which each process makes its own, the latest one in `pools`. A pool knows
// the one before it, that of the process from which its own was forked, which is kept until the
// end, since other threads may be reading it.

// The pool of this process, made by make(before) unless it has been. Null if it cannot have one.
template <typename Pool, typename Make>
Pool* pool_of_process(std::atomic<Pool*>& pools, Make&& make) {
  Pool* pool = pools.load(std::memory_order_acquire);
  if (pool && pool->is_of_this_process()) return pool;
  if (pool && !kStartsThreadsAfterFork) return nullptr;
  std::unique_ptr<Pool> own = make(pool);
  // If another thread has stored a pool first, that one is used.
  return pools.compare_exchange_strong(pool, own.get(), std::memory_order_acq_rel) ? own.release()
                                                                                   : pool;
}

template <typename Pool>
void delete_pools(std::atomic<Pool*>& pools) {
  for (Pool* pool = pools; pool;) {
    Pool* const before = pool->before();
    delete pool;
    pool = before;
  }
}

}  // namespace sl
