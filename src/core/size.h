// Arithmetic of sizes, offsets and times that models, files and callers choose: every product and
// sum of them that could pass 64 bits is made here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/status.h"

namespace sl {

// A size or a time beyond what can be counted or what is allowed. Whoever knows the layer, the
// tensor or the JSON path catches it and names it.
class SizeError : public Error {
 public:
  using Error::Error;
};

// What 64 bits cannot count.
[[noreturn]] void fail_overflow();
// What needs more memory than it may take.
[[noreturn]] void fail_too_large(size_t bytes, size_t most);

// False if 64 bits cannot hold the result, which `out` then does not.
constexpr bool fits_product(int64_t a, int64_t b, int64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}
constexpr bool fits_sum(int64_t a, int64_t b, int64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}

constexpr int64_t checked_product(int64_t a, int64_t b) {
  int64_t out = 0;
  if (!fits_product(a, b, &out)) fail_overflow();
  return out;
}
template <typename... More>
constexpr int64_t checked_product(int64_t a, int64_t b, int64_t c, More... more) {
  return checked_product(checked_product(a, b), c, more...);
}

constexpr int64_t checked_sum(int64_t a, int64_t b) {
  int64_t out = 0;
  if (!fits_sum(a, b, &out)) fail_overflow();
  return out;
}
template <typename... More>
constexpr int64_t checked_sum(int64_t a, int64_t b, int64_t c, More... more) {
  return checked_sum(checked_sum(a, b), c, more...);
}

constexpr size_t checked_add(size_t a, size_t b) {
  size_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) fail_overflow();
  return out;
}

// Bytes of `count` elements, which fit 63 bits so that any part of them is counted by int64_t too.
constexpr size_t checked_bytes(int64_t count, size_t element) {
  const int64_t bytes = checked_product(count, static_cast<int64_t>(element));
  if (bytes < 0) fail_overflow();
  return static_cast<size_t>(bytes);
}

}  // namespace sl
