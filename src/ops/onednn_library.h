// oneDNN's C API, loaded at its first use. The library is never linked with oneDNN: oneDNN's
// symbols carry no versions, so that another oneDNN in the process could be called in its place.
#pragma once

#include <oneapi/dnnl/dnnl.h>

namespace sl::ops {

// The list of all oneDNN functions that are called.
#define SL_ONEDNN_FUNCTIONS(X)                        \
  X(dnnl_version)                                     \
  X(dnnl_engine_create)                               \
  X(dnnl_engine_destroy)                              \
  X(dnnl_stream_create)                               \
  X(dnnl_stream_wait)                                 \
  X(dnnl_stream_destroy)                              \
  X(dnnl_memory_desc_create_with_tag)                 \
  X(dnnl_memory_desc_destroy)                         \
  X(dnnl_memory_create)                               \
  X(dnnl_memory_get_memory_desc)                      \
  X(dnnl_memory_destroy)                              \
  X(dnnl_post_ops_create)                             \
  X(dnnl_post_ops_append_sum)                         \
  X(dnnl_post_ops_destroy)                            \
  X(dnnl_primitive_attr_create)                       \
  X(dnnl_primitive_attr_set_post_ops)                 \
  X(dnnl_primitive_attr_destroy)                      \
  X(dnnl_inner_product_forward_primitive_desc_create) \
  X(dnnl_reorder_primitive_desc_create)               \
  X(dnnl_primitive_desc_query_md)                     \
  X(dnnl_primitive_desc_destroy)                      \
  X(dnnl_primitive_create)                            \
  X(dnnl_primitive_execute)                           \
  X(dnnl_primitive_destroy)

struct OneDnnFunctions {
#define SL_ONEDNN_POINTER(name) decltype(&::name) name = nullptr;
  SL_ONEDNN_FUNCTIONS(SL_ONEDNN_POINTER)
#undef SL_ONEDNN_POINTER
  // Functions of the OpenMP runtime that oneDNN uses; null if it uses none.
  int (*omp_get_max_threads)() = nullptr;
  void (*omp_set_num_threads)(int) = nullptr;
};

// The functions of oneDNN 3, or null if it is not found. If the environment variable
// SEQUENCE_LAYERS_ONEDNN is set, only the file that it names is tried; if not, libdnnl.so.3 beside
// this library, then libdnnl.so.3 by the system's search path. The first call loads the library,
// which allocates and may log. It is never unloaded, since OpenMP's threads may still run.
const OneDnnFunctions* onednn_functions();

}  // namespace sl::ops
