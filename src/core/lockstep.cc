#include "core/lockstep.h"

#include <thread>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace sl {
namespace {

// Before the thread lets others have its CPU: one of them may be who it waits for.
constexpr int kSpins = 4096;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

}  // namespace

void Lockstep::wait_for(int64_t finished) const {
  for (int spins = 0; finished_.load(std::memory_order_acquire) < finished; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace sl
