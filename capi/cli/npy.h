// NumPy's .npy files.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_NPY_H_
#define SEQUENCE_LAYERS_CAPI_CLI_NPY_H_

#include <string>

#include "cli/tensor.h"

namespace sl::cli {

// An array of float32, int32, bool, complex64, float16 or int8; float64 and int64, NumPy's
// defaults, are narrowed. Little-endian, C order.
Tensor read_npy(const std::string& path);

// bfloat16, which NumPy lacks, is widened to float32. The mask is not written.
void write_npy(const std::string& path, const Tensor& x);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_NPY_H_
