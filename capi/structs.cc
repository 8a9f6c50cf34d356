#include "structs.h"

void sl::capi::check_unknown_part(const void* given, size_t known, size_t size, const char* name) {
  const auto* bytes = static_cast<const unsigned char*>(given);
  for (size_t i = known; i < size; ++i) {
    if (bytes[i] == 0) continue;
    fail(Code::kInvalidArgument,
         "{}.struct_size is {}, of which this library knows {} bytes: byte {} is not zero, and so "
         "asks for what a newer version has",
         name, size, known, i);
  }
}

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
