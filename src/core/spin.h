// Waiting by spinning, without calls of the system.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif !defined(__aarch64__)
#include <chrono>
#endif

namespace sl {

// Tells the CPU that the thread spins.
inline void spin_pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// A clock that every thread can read in a few nanoseconds. Its unit depends on the CPU.
inline int64_t ticks() {
#if defined(__x86_64__) || defined(__i386__)
  return static_cast<int64_t>(__rdtsc());
#elif defined(__aarch64__)
  uint64_t count;
  __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(count));
  return static_cast<int64_t>(count);
#else
  return std::chrono::steady_clock::now().time_since_epoch().count();
#endif
}

// Ticks of a microsecond, to within a factor of two on x86.
inline int64_t ticks_per_microsecond() {
#if defined(__x86_64__) || defined(__i386__)
  return 2500;
#elif defined(__aarch64__)
  uint64_t hertz;
  __asm__ __volatile__("mrs %0, cntfrq_el0" : "=r"(hertz));
  return hertz < 1000000 ? 1 : static_cast<int64_t>(hertz / 1000000);
#else
  return 1000;
#endif
}

}  // namespace sl
