// Runs parts of a run's work on several threads, by the caller's parallel_for or the library's own
// threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "core/matmul_backend.h"

namespace sl {

using ParallelForHook = void (*)(void* user_data, int64_t count,
                                 void (*task)(void* context, int64_t i), void* context);

class Crew;
class Profile;
class StepTeam;
class ThreadPool;

class Parallel {
 public:
  // Runs everything on the calling thread.
  constexpr Parallel() = default;
  // If the system refuses to start threads, a warning is logged and the run uses fewer. After a
  // fork the child starts its own threads. Neither changes a result, because work is split by
  // num_threads(), not by the number of running threads.
  Parallel(int num_threads, ParallelForHook hook, void* user_data);
  // Runs everything on the calling thread, and records it.
  explicit Parallel(Profile* profile) : profile_(profile) {}
  // Runs everything on the calling thread, except for what is given to the team of its steps, which
  // may be null.
  explicit Parallel(const StepTeam* team) : team_(team) {}
  Parallel(const Parallel&) = delete;
  Parallel& operator=(const Parallel&) = delete;
  ~Parallel();

  int num_threads() const { return num_threads_; }
  // Where runs are recorded; null: nowhere.
  Profile* profile() const { return profile_; }
  // Threads for the large products of steps; null: none.
  const StepTeam* team() const { return team_; }
  // Who computes the large products of layer-wise runs.
  MatmulBackend backend() const { return backend_; }
  void use(MatmulBackend backend) { backend_ = backend; }
  // Counts work of the layer that is running: arithmetic operations, and bytes of weights and of
  // what a combinator combines.
  void count(int64_t flop, int64_t bytes = 0) const {
    if (profile_) record(flop, bytes);
  }

  // Calls fn(i) for every i in [0, count), in any order. An exception of a call is thrown here once
  // all calls have returned.
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

  // A run that is going on. While there is one, the library's own threads spin for a while before
  // they sleep.
  class Active {
   public:
    explicit Active(const Parallel& parallel);
    Active(const Active&) = delete;
    Active& operator=(const Active&) = delete;
    ~Active();

   private:
    ThreadPool* pool_ = nullptr;
  };

  // The right to give jobs of several steps to the library's own threads. Other runs wait for it.
  class Turn {
   public:
    explicit Turn(const Parallel& parallel);
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn();
    // Null if the caller has to work alone.
    Crew* crew() const { return crew_; }

   private:
    ThreadPool* pool_ = nullptr;
    Crew* crew_ = nullptr;
  };

 private:
  void record(int64_t flop, int64_t bytes) const;
  void run(int64_t count, void (*task)(void*, int64_t), void* context) const;
  // The thread pool of this process; null if there is none, or no memory for one.
  ThreadPool* pool() const;

  int num_threads_ = 1;
  MatmulBackend backend_ = MatmulBackend::kDefault;
  Profile* profile_ = nullptr;
  const StepTeam* team_ = nullptr;
  ParallelForHook hook_ = nullptr;
  void* user_data_ = nullptr;
  mutable std::atomic<ThreadPool*> pool_ = nullptr;  // owned
};

}  // namespace sl
