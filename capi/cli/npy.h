// NumPy's .npy files.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_NPY_H_
#define SEQUENCE_LAYERS_CAPI_CLI_NPY_H_

#include <istream>
#include <string>

#include "cli/tensor.h"

namespace sl::cli {

struct NpyArray {
  Tensor values;
  std::string dtype;  // in the file, as NumPy spells it: "int16"
};

// An array of bool, integers, floats or complex numbers, of any byte order and axis order. What the
// ABI has no dtype for becomes int32, float32 or complex64: an error if a value does not fit.
NpyArray read_npy_array(const std::string& path);
// From a stream, which `name` names in errors. No more is read than the array takes.
NpyArray read_npy_array(std::istream& file, const std::string& name);
Tensor read_npy(const std::string& path);

// bfloat16, which NumPy lacks, is widened to float32. The mask is not written.
void write_npy(const std::string& path, const Tensor& x);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_NPY_H_
