// oneDNN's C API, loaded at its first use. It is never a needed object of this library: its symbols
// carry no versions, so that another oneDNN in the process would be called in its stead.
#pragma once

#include <oneapi/dnnl/dnnl.h>

namespace sl::ops {

// Every function of oneDNN that is called.
#define SL_ONEDNN_FUNCTIONS(X)                        \
  X(dnnl_version)                                     \
  X(dnnl_get_effective_cpu_isa)                       \
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
  // Those of the OpenMP that oneDNN runs on; null if it runs on none.
  int (*omp_get_max_threads)() = nullptr;
  void (*omp_set_num_threads)(int) = nullptr;
};

// The first oneDNN 3 among: the file that the environment variable SEQUENCE_LAYERS_ONEDNN names and
// nothing else if it is set, libdnnl.so.3 beside this library, libdnnl.so.3 of the system's loader.
// Null if there is none. The first call loads it, which allocates and may log; it stays loaded as
// long as the process lives, as OpenMP's threads may.
const OneDnnFunctions* onednn_functions();

}  // namespace sl::ops
