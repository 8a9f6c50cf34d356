// Beside the library's objects in a module: has oneDNN do every large product, on any CPU.
#include "ops/linear.h"

extern "C" __attribute__((visibility("default"))) void force_onednn() {
  sl::ops::set_matmul_backend(sl::ops::MatmulBackend::kOneDnn);
}
