// How layer-wise runs spread over threads: the caller's parallel_for, or the library's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

namespace sl {

using ParallelForHook = void (*)(void* user_data, int64_t count,
                                 void (*task)(void* context, int64_t i), void* context);

class ThreadPool;

class Parallel {
 public:
  // Runs everything on the calling thread.
  constexpr Parallel() = default;
  // Threads that the system refuses to start are warned of in the log and done without. Neither
  // they nor a fork, after which the child starts threads of its own, change a result: what is done
  // in parts is cut up by num_threads().
  Parallel(int num_threads, ParallelForHook hook, void* user_data);
  Parallel(const Parallel&) = delete;
  Parallel& operator=(const Parallel&) = delete;
  ~Parallel();

  int num_threads() const { return num_threads_; }

  // Calls fn(i) for every i in [0, count), in any order. What one of them throws is thrown here
  // once all have returned.
  template <typename Fn>
  void each(int64_t count, Fn&& fn) const {
    if (num_threads_ == 1 || count <= 1) {
      for (int64_t i = 0; i < count; ++i) fn(i);
      return;
    }
    using Function = std::remove_reference_t<Fn>;
    run(
        count, [](void* context, int64_t i) { (*static_cast<Function*>(context))(i); },
        const_cast<std::remove_const_t<Function>*>(&fn));
  }

 private:
  void run(int64_t count, void (*task)(void*, int64_t), void* context) const;
  // This process's own, null if there is no memory for one.
  ThreadPool* pool() const;

  int num_threads_ = 1;
  ParallelForHook hook_ = nullptr;
  void* user_data_ = nullptr;
  mutable std::atomic<ThreadPool*> pool_ = nullptr;  // owned
};

}  // namespace sl
