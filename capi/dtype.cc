#include "core/dtype.h"

#include "sequence_layers/sequence_layers.h"

size_t sl_dtype_size(sl_dtype dtype) {
  return dtype < SL_DTYPE_FLOAT32 || dtype > SL_DTYPE_INT8
             ? 0
             : sl::size_of(static_cast<sl::DType>(dtype));
}

const char* sl_dtype_name(sl_dtype dtype) {
  // The names are literals: they end in zero.
  return dtype < SL_DTYPE_FLOAT32 || dtype > SL_DTYPE_INT8
             ? nullptr
             : sl::name_of(static_cast<sl::DType>(dtype)).data();
}
