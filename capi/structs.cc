#include "structs.h"

#include <cstring>

namespace {

// Writes no more than version 1.0 has: the caller's header may be as old.
template <typename T>
void init(T* out, T value) {
  if (!out) return;
  constexpr uint32_t kSize = sl::capi::kFirstSize<T>;
  value.struct_size = kSize;
  std::memcpy(static_cast<void*>(out), &value, kSize);
}

}  // namespace

#define SL_DEFINE_INIT(type, macro, last) \
  void type##_init(type* out) { init(out, type macro); }
SL_SIZED_STRUCTS(SL_DEFINE_INIT)
#undef SL_DEFINE_INIT
