// Threads that a process starts once and joins, and that a fork leaves behind.
#pragma once

#include <pthread.h>

#include <cstdint>
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

}  // namespace sl
