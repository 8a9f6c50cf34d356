#include "core/dtype.h"

#include "sequence_layers/sequence_layers.h"

size_t sl_dtype_size(sl_dtype dtype) {
  return sl::is_dtype(dtype) ? sl::size_of(static_cast<sl::DType>(dtype)) : 0;
}

const char* sl_dtype_name(sl_dtype dtype) {
  // The names are literals: they end in zero.
  return sl::is_dtype(dtype) ? sl::name_of(static_cast<sl::DType>(dtype)).data() : nullptr;
}
