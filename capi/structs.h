// The structs of the C ABI that begin with struct_size.
#pragma once

#include <cstddef>

#include "sequence_layers/sequence_layers.h"

namespace sl::capi {

// X(struct, its _INIT macro, the last field that it has in version 1.0)
#define SL_SIZED_STRUCTS(X)                                             \
  X(sl_error, SL_ERROR_INIT, message)                                   \
  X(sl_channel_spec, SL_CHANNEL_SPEC_INIT, dims)                        \
  X(sl_sequence, SL_SEQUENCE_INIT, mask_strides)                        \
  X(sl_constant_info, SL_CONSTANT_INFO_INIT, dims)                      \
  X(sl_step_difference, SL_STEP_DIFFERENCE_INIT, cure)                  \
  X(sl_allocator, SL_ALLOCATOR_INIT, deallocate)                        \
  X(sl_layer_properties, SL_LAYER_PROPERTIES_INIT, receptive_field_end) \
  X(sl_layer_callbacks, SL_LAYER_CALLBACKS_INIT, step)                  \
  X(sl_layer_options, SL_LAYER_OPTIONS_INIT, max_bytes)                 \
  X(sl_run_options, SL_RUN_OPTIONS_INIT, state)                         \
  X(sl_state_options, SL_STATE_OPTIONS_INIT, max_length)                \
  X(sl_decoder_options, SL_DECODER_OPTIONS_INIT, reserved)

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

#if SL_VERSION_MINOR == 0  // while the list must name the last fields
#define SL_CHECK_FIRST_SIZE(type, init, last) \
  static_assert(sizeof(type) - kFirstSize<type> < alignof(type), #last " is not the last field");
SL_SIZED_STRUCTS(SL_CHECK_FIRST_SIZE)
#undef SL_CHECK_FIRST_SIZE
#endif

// Bytes that a caller's struct has.
template <typename T>
constexpr uint32_t size_of_struct(const T& given) {
  static_assert(kFirstSize<T> != 0, "a struct of the C ABI is missing from SL_SIZED_STRUCTS");
  return given.struct_size == 0 ? kFirstSize<T> : given.struct_size;
}

}  // namespace sl::capi
