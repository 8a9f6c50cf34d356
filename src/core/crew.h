// Work that a caller shares with worker threads which may lose their CPU at any time: the caller
// never waits for them longer than the work would take it alone.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include "core/allocator.h"

namespace sl {

// A job has parts, which any thread computes in any order, and it may have several steps, each of
// which needs all parts of the one before. Each thread takes the parts that are its own, whose data
// it has in cache, and then parts that no thread has begun. If a worker is late with a part that it
// has begun, the caller takes it over and what the worker makes of it is ignored.
//
// Such a worker may go on reading and writing for any time. So workers read only what never changes
// and memory of the crew, and write only to memory of the crew, of which a block is not used again
// before no worker is at work in it.
//
// The class has no threads of its own: they call `serve`. It takes one caller at a time. Guests are
// workers that come and go.
class Crew {
 public:
  static constexpr int64_t kMaxParts = 64;
  static constexpr int64_t kMaxSteps = 1 << 14;
  static constexpr size_t kMaxWorkBytes = 128;
  static constexpr uint64_t kNoJob = 0;
  static constexpr int kMaxGuests = 63;

  // For so many workers, and at most so many guests besides.
  explicit Crew(int workers, int guests = 0);
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Maximum number of threads at work in a job.
  int threads() const { return places() + 1; }

  // For the caller.

  // Makes all blocks of that size. Allocates.
  void reserve(size_t bytes);
  // Memory for the next job; null if none of that size is free.
  std::byte* memory(size_t bytes);
  // Like `memory`, but allocates if a block is too small.
  std::byte* grown_memory(size_t bytes);

  // Run a job in the memory that was got last. Workers call work.part(step, part, thread) for the
  // parts that they take; the caller is thread 0.
  //
  // A job of one step: the caller calls own(part) for the parts that it takes and accept(part) for
  // those that workers have computed.
  template <typename Work, typename Own, typename Accept>
  void run(const Work& work, int64_t parts, Own&& own, Accept&& accept) {
    struct Context {
      Own& own;
      Accept& accept;
    } context{own, accept};
    run(job_of(work, 1, parts),
        {&context, [](void* c, int64_t, int64_t part) { static_cast<Context*>(c)->own(part); },
         [](void* c, int64_t part) { static_cast<Context*>(c)->accept(part); }});
  }
  // A job of one or more steps, all in the memory of the crew. Returns the number of steps that are
  // done: fewer than `steps` if a worker was late, which leaves the rest to the caller, in other
  // memory.
  template <typename Work>
  int64_t run_steps(const Work& work, int64_t steps, int64_t parts) {
    Work own = work;
    return run(job_of(work, steps, parts), {&own,
                                            [](void* c, int64_t step, int64_t part) {
                                              static_cast<Work*>(c)->part(step, part, 0);
                                            },
                                            nullptr});
  }
  // Number of the last jobs in a row that took no less time with the workers than without them.
  int64_t in_vain() const { return in_vain_; }

  // For guests.

  // The number of a worker, which the thread is until it leaves; 0 if all places are taken.
  int join();
  void leave(int worker);

  // For the workers, numbered from 1.

  // A number that grows with each job, or kNoJob while the next one is written.
  uint64_t current() const { return base_.load(std::memory_order_acquire); }
  // Works on the current job unless its number is `seen`, which it then becomes. Returns false if
  // there was none.
  bool serve(int worker, uint64_t* seen);

 private:
  using Part = void (*)(const void* work, int64_t step, int64_t part, int64_t thread);

  struct Job {
    Part part;
    int64_t steps;
    int64_t parts;
    int64_t block;
    uint64_t float_modes;
    alignas(8) std::byte work[kMaxWorkBytes];
  };
  // Callbacks of the caller.
  struct Own {
    void* context;
    void (*part)(void* context, int64_t step, int64_t part);
    void (*accept)(void* context, int64_t part);
  };
  // The job as workers read it, which may be while the caller writes the next one. There is no
  // current job meanwhile, so that they find out and forget what they have read.
  static constexpr size_t kWords = sizeof(Job) / sizeof(uint64_t);

  // Counts what has become of a part: the job's base, and two for each step that is done and one if
  // the next is taken. A count below the base is of an earlier job: nothing has been done. It is on
  // its own cache line.
  struct alignas(64) Progress {
    std::atomic<uint64_t> count{0};
  };
  // The block that a worker is at work in, from 1; 0: none.
  struct alignas(64) Place {
    std::atomic<int> block{0};
  };

  template <typename Work>
  static Job job_of(const Work& work, int64_t steps, int64_t parts) {
    static_assert(std::is_trivially_copyable_v<Work> && sizeof(Work) <= kMaxWorkBytes);
    Job job{};
    static_assert(alignof(Work) <= 8);
    job.part = [](const void* bytes, int64_t step, int64_t part, int64_t thread) {
      static_cast<const Work*>(bytes)->part(step, part, thread);
    };
    job.steps = steps;
    job.parts = parts;
    std::memcpy(job.work, &work, sizeof(Work));
    return job;
  }

  int64_t run(const Job& job, const Own& own);
  uint64_t publish(const Job& job);
  Job read() const;
  // Calls fn(part) in the order in which a thread takes parts, until it returns false.
  template <typename Fn>
  bool each_part(int64_t thread, int64_t parts, Fn&& fn) const;
  bool serve_step(int worker, const Job& job, uint64_t base, int64_t step);

  bool is_free(int64_t part, uint64_t base, int64_t step) const;
  bool take(int64_t part, uint64_t base, int64_t step);
  bool finish(int64_t part, uint64_t base, int64_t step);
  bool done(int64_t part, uint64_t base, int64_t step) const;
  // Waits, for the caller, until the part is done. False if a worker is late with it.
  bool wait_for(int64_t part, uint64_t base, int64_t step, int64_t patience) const;
  // Waits, for a worker, until the whole step is done. False if the job has ended.
  bool wait_for_step(int64_t parts, uint64_t base, int64_t step) const;
  // Takes over a part, whose worker then does not finish it. False if it has just finished it.
  bool take_over(int64_t part, uint64_t base, int64_t step, bool ends_job);
  // Ends a job of several steps, with which no worker then goes on.
  void abandon(uint64_t base, int64_t parts);
  // A block that no worker is at work in; -1 if there is none, or all workers are late.
  int free_block() const;
  int places() const { return workers_ + max_guests_; }

  const int workers_;
  const int max_guests_;
  std::atomic<uint64_t> guests_{0};  // a bit for each one that is there
  std::unique_ptr<Place[]> places_;
  static constexpr int kBlocks = 2;
  std::array<Block, kBlocks> blocks_;
  int block_ = 0;  // of the next job
  int64_t in_vain_ = 0;

  alignas(64) std::atomic<uint64_t> base_{kNoJob};
  std::array<std::atomic<uint64_t>, kWords> words_{};
  std::array<Progress, kMaxParts> progress_;
};

}  // namespace sl
