// Linked with the library's objects into a module in which oneDNN computes every large product, on
// any CPU.
#include "ops/linear.h"

extern "C" __attribute__((visibility("default"))) void force_onednn() {
  sl::ops::set_matmul_backend(sl::ops::MatmulBackend::kOneDnn);
}
