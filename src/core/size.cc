#include "core/size.h"

namespace sl {

void fail_overflow() {
  throw SizeError(Code::kShape, "sizes, times and latencies must fit 64 bits");
}

void fail_too_large(size_t bytes, size_t maximum) {
  throw SizeError(
      Code::kOutOfMemory,
      fmt::format("{} bytes are needed: at most {} are allowed (max_bytes)", bytes, maximum));
}

}  // namespace sl
