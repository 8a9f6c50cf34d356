// A thread that a test lends to the steps of others.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace sl::testing {

// Lends a thread of its own until it is stopped. The constructor returns when it has been lent.
class LentThread {
 public:
  // Calls lend(keep_going, data) on the thread, which is to work while keep_going(data).
  template <typename Lend>
  explicit LentThread(Lend lend) : thread_([this, lend] { lend(keep_going, this); }) {
    while (!is_there_) std::this_thread::yield();
  }
  LentThread(const LentThread&) = delete;
  LentThread& operator=(const LentThread&) = delete;
  ~LentThread() { stop(); }

  void stop() {
    stops_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  static int32_t keep_going(void* lent) {
    auto* const self = static_cast<LentThread*>(lent);
    self->is_there_ = true;
    return self->stops_ ? 0 : 1;
  }

  std::atomic<bool> is_there_{false}, stops_{false};
  std::thread thread_;
};

}  // namespace sl::testing
