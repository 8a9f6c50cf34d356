// The structs of the C ABI that begin with struct_size, and how they are read and written where the
// caller's header is older or newer than the library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/status.h"
#include "sequence_layers/sequence_layers.h"

namespace sl::capi {

// X(struct, its _INIT macro, the last field that it has in version 1.0)

// Structs that stand inside others or in arrays: they never grow.
#define SL_FROZEN_STRUCTS(X)                     \
  X(sl_channel_spec, SL_CHANNEL_SPEC_INIT, dims) \
  X(sl_sequence, SL_SEQUENCE_INIT, mask_strides)

// Structs that later versions may extend at their end.
#define SL_GROWING_STRUCTS(X)                                            \
  X(sl_error, SL_ERROR_INIT, message)                                    \
  X(sl_constant_info, SL_CONSTANT_INFO_INIT, dims)                       \
  X(sl_step_difference, SL_STEP_DIFFERENCE_INIT, cure)                   \
  X(sl_allocator, SL_ALLOCATOR_INIT, deallocate)                         \
  X(sl_layer_properties, SL_LAYER_PROPERTIES_INIT, counts_invalid_steps) \
  X(sl_layer_callbacks, SL_LAYER_CALLBACKS_INIT, step_slots)             \
  X(sl_layer_options, SL_LAYER_OPTIONS_INIT, reserved)                   \
  X(sl_run_options, SL_RUN_OPTIONS_INIT, profile)                        \
  X(sl_state_options, SL_STATE_OPTIONS_INIT, max_length)                 \
  X(sl_decoder_options, SL_DECODER_OPTIONS_INIT, choose_data)            \
  X(sl_pipe_options, SL_PIPE_OPTIONS_INIT, allocator)

#define SL_SIZED_STRUCTS(X) \
  SL_FROZEN_STRUCTS(X)      \
  SL_GROWING_STRUCTS(X)

// Bytes of the struct in version 1.0, which a struct_size of 0 stands for: callers that leave it
// zero may know no later field.
template <typename T>
inline constexpr uint32_t kFirstSize = 0;
#define SL_FIRST_SIZE(type, init, last)        \
  template <>                                  \
  inline constexpr uint32_t kFirstSize<type> = \
      static_cast<uint32_t>(offsetof(type, last) + sizeof(type::last));
SL_SIZED_STRUCTS(SL_FIRST_SIZE)
#undef SL_FIRST_SIZE

template <typename T>
inline constexpr bool kFrozen = false;
#define SL_IS_FROZEN(type, init, last) \
  template <>                          \
  inline constexpr bool kFrozen<type> = true;
SL_FROZEN_STRUCTS(SL_IS_FROZEN)
#undef SL_IS_FROZEN

// No struct comes near it: a larger struct_size is a field that was never set.
inline constexpr uint32_t kMaxStructSize = 4096;

// Bytes that a caller's struct has.
template <typename T>
constexpr uint32_t size_of_struct(const T& given) {
  static_assert(kFirstSize<T> != 0, "a struct of the C ABI is missing from SL_SIZED_STRUCTS");
  return given.struct_size == 0 ? kFirstSize<T> : given.struct_size;
}

// Bytes that a caller's struct has, if it can have them.
template <typename T>
size_t checked_size(const T& given, const char* name) {
  const uint32_t size = size_of_struct(given);
  if (size == sizeof(T)) return size;
  if (kFrozen<T>) {
    fail(Code::kInvalidArgument, "{}.struct_size is {}: expected 0, or {} as its _INIT macro sets",
         name, size, sizeof(T));
  }
  if (size < sizeof(uint32_t) || size > kMaxStructSize) {
    fail(Code::kInvalidArgument,
         "{}.struct_size is {}: expected 0, or the struct's size as its _INIT macro sets it", name,
         size);
  }
  return size;
}

// Fails if a newer caller's struct of `size` bytes holds anything but zeros, which stand for
// defaults, beyond the `known` bytes that this library has.
void check_unknown_part(const void* given, size_t known, size_t size, const char* name);

// The part of a caller's struct that both sides know, zeros in all other fields.
template <typename T>
T read_struct(const T* given, const char* name) {
  T out{};
  out.struct_size = sizeof(T);
  if (!given) return out;
  const size_t size = checked_size(*given, name);
  if (size > sizeof(T)) check_unknown_part(given, sizeof(T), size, name);
  memcpy(static_cast<void*>(&out), given, std::min(size, sizeof(T)));
  out.struct_size = sizeof(T);
  return out;
}

// Writes the part of a caller's struct that both sides know, and zeros to what only the caller
// knows.
template <typename T>
void write_struct(T value, T* out, const char* name) {
  if (!out) fail(Code::kInvalidArgument, "{} is null", name);
  const size_t size = checked_size(*out, name);
  value.struct_size = out->struct_size;
  memcpy(static_cast<void*>(out), &value, std::min(size, sizeof(T)));
  // Through a byte pointer: the caller's struct is larger than this version's.
  if (size > sizeof(T)) memset(reinterpret_cast<std::byte*>(out) + sizeof(T), 0, size - sizeof(T));
}

}  // namespace sl::capi
