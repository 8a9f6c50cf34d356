#include "core/threads.h"

#include <atomic>
#include <cstring>
#include <new>

#include "core/log.h"

namespace sl {
namespace {

std::atomic<uint64_t> g_forks = 0;
const bool g_sees_forks =
    pthread_atfork(nullptr, nullptr, [] { g_forks.fetch_add(1, std::memory_order_relaxed); }) == 0;

}  // namespace

uint64_t forks() { return g_forks.load(std::memory_order_relaxed); }

void require_fork_count() {
  if (!g_sees_forks) throw std::bad_alloc();
}

Threads::Threads(int count, void* (*work)(void*), void* context, const char* runs) {
  threads_.reserve(static_cast<size_t>(count));
  int error = 0;
  for (pthread_t thread; error == 0 && std::ssize(threads_) < count;) {
    error = pthread_create(&thread, nullptr, work, context);
    if (error == 0) threads_.push_back(thread);
  }
  if (error != 0) {
    log(LogLevel::kWarning, "{} of {} threads could be started: {} are slower: {}",
        threads_.size() + 1, count + 1, runs, std::strerror(error));
  }
}

void Threads::join() {
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
}

}  // namespace sl
