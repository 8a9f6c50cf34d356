// How a thread treats numbers too small for a normalized float.
#pragma once

#include <cstdint>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace sl {

// The calling thread's modes of float arithmetic, which include rounding and denormals.
class FloatModes {
 public:
#if defined(__SSE__)
  static FloatModes get() { return FloatModes(_mm_getcsr() & ~kFlags); }
  void set() const { _mm_setcsr(static_cast<unsigned>(bits_)); }
  FloatModes flushing() const { return FloatModes(bits_ | kFlushResults | kReadAsZero); }
#elif defined(__aarch64__)
  static FloatModes get() {
    uint64_t bits;
    asm volatile("mrs %0, fpcr" : "=r"(bits));
    return FloatModes(bits);
  }
  void set() const { asm volatile("msr fpcr, %0" : : "r"(bits_)); }
  FloatModes flushing() const { return FloatModes(bits_ | kFlush); }
#else
  static FloatModes get() { return FloatModes(0); }
  void set() const {}
  FloatModes flushing() const { return *this; }
#endif

  explicit FloatModes(uint64_t bits) : bits_(bits) {}
  uint64_t bits() const { return bits_; }

 private:
#if defined(__SSE__)
  static constexpr unsigned kFlushResults = 0x8000, kReadAsZero = 0x0040;
  static constexpr unsigned kFlags = 0x003f;  // exceptions that have occurred
#elif defined(__aarch64__)
  static constexpr uint64_t kFlush = uint64_t{1} << 24;
#endif
  uint64_t bits_;
};

// Such numbers are zero while an object of this class lives. Without it models that fade out, such
// as reverbs, cost a hundred times as much in silence.
class FlushDenormals {
 public:
  FlushDenormals() : before_(FloatModes::get()) { before_.flushing().set(); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
  ~FlushDenormals() { before_.set(); }

 private:
  FloatModes before_;
};

}  // namespace sl
