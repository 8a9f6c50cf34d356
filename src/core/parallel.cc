#include "core/parallel.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace sl {
namespace {

// Set on threads that are running a task: a run within a run happens on the spot.
thread_local bool t_in_task = false;

}  // namespace

// Workers that sleep between runs. One run at a time: callers of several threads take turns.
class ThreadPool {
 public:
  explicit ThreadPool(int workers) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }

  ~ThreadPool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(int64_t count, void (*task)(void*, int64_t), void* context) {
    const std::lock_guard turn(turn_);
    {
      const std::lock_guard lock(mutex_);
      task_ = task;
      context_ = context;
      count_ = count;
      next_.store(0);
      busy_ = static_cast<int>(threads_.size());
      ++generation_;
    }
    wake_.notify_all();
    take(task, context, count);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void take(void (*task)(void*, int64_t), void* context, int64_t count) {
    t_in_task = true;
    for (int64_t i = next_.fetch_add(1); i < count; i = next_.fetch_add(1)) task(context, i);
    t_in_task = false;
  }

  void work() {
    uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      const auto task = task_;
      void* const context = context_;
      const int64_t count = count_;
      lock.unlock();
      take(task, context, count);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> threads_;
  std::mutex turn_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::atomic<int64_t> next_{0};
  void (*task_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  int busy_ = 0;
  uint64_t generation_ = 0;
  bool stopping_ = false;
};

Parallel::Parallel() = default;

Parallel::Parallel(int num_threads, ParallelForHook hook, void* user_data)
    : num_threads_(num_threads), hook_(hook), user_data_(user_data) {
  if (!hook && num_threads > 1) pool_ = std::make_unique<ThreadPool>(num_threads - 1);
}

Parallel::~Parallel() = default;

void Parallel::run(int64_t count, void (*task)(void*, int64_t), void* context) const {
  if (hook_) {
    hook_(user_data_, count, task, context);
  } else if (t_in_task) {
    for (int64_t i = 0; i < count; ++i) task(context, i);
  } else {
    pool_->run(count, task, context);
  }
}

}  // namespace sl
