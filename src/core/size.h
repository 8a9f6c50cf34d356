// Arithmetic of sizes, offsets and times that come from models, files and callers. Every product
// and sum of them that could exceed 64 bits is computed here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/status.h"

namespace sl {

// Thrown for a size or a time that is not representable or not allowed. Callers that know the
// layer, the tensor or the JSON path catch it and add the name.
class SizeError : public Error {
 public:
  using Error::Error;
};

// Fails because a size does not fit into 64 bits.
[[noreturn]] void fail_overflow();
// Fails because `bytes` of memory are needed and only `maximum` are allowed.
[[noreturn]] void fail_too_large(size_t bytes, size_t maximum);

// Computes the result into `out`. Returns false if it does not fit into 64 bits; `out` is then
// meaningless.
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

// Bytes of `count` elements. They fit into 63 bits, so that int64_t can count any part of them.
constexpr size_t checked_bytes(int64_t count, size_t element) {
  const int64_t bytes = checked_product(count, static_cast<int64_t>(element));
  if (bytes < 0) fail_overflow();
  return static_cast<size_t>(bytes);
}

}  // namespace sl
