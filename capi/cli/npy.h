// Reads and writes NumPy's .npy files.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_NPY_H_
#define SEQUENCE_LAYERS_CAPI_CLI_NPY_H_

#include <istream>
#include <string>

#include "testing/tensor.h"

namespace sl::cli {

struct NpyArray {
  testing::Tensor values;
  std::string dtype;  // in the file, as NumPy spells it: "int16"
};

// Reads bool, integer, float or complex arrays in any byte order and axis order. Types without a
// dtype in the ABI become int32, float32 or complex64; a value that does not fit is an error.
NpyArray read_npy_array(const std::string& path);
// Reads from a stream, and no further than the array's end. Error messages call it `name`.
NpyArray read_npy_array(std::istream& file, const std::string& name);
testing::Tensor read_npy(const std::string& path);

// Writes the values without the mask. bfloat16, which NumPy lacks, is widened to float32.
void write_npy(const std::string& path, const testing::Tensor& x);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_NPY_H_
