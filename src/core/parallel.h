// How layer-wise runs spread over threads: the caller's parallel_for, or the library's own.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace sl {

using ParallelForHook = void (*)(void* user_data, int64_t count,
                                 void (*task)(void* context, int64_t i), void* context);

class ThreadPool;

class Parallel {
 public:
  // Runs everything on the calling thread.
  Parallel();
  Parallel(int num_threads, ParallelForHook hook, void* user_data);
  Parallel(const Parallel&) = delete;
  Parallel& operator=(const Parallel&) = delete;
  ~Parallel();

  int num_threads() const { return num_threads_; }

  // Calls fn(i) for every i in [0, count), in any order; fn must not throw.
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

  int num_threads_ = 1;
  ParallelForHook hook_ = nullptr;
  void* user_data_ = nullptr;
  std::unique_ptr<ThreadPool> pool_;
};

}  // namespace sl
