// Host tensors of the tool: owned values with an optional mask, and what the contract needs of
// them.
#ifndef SEQUENCE_LAYERS_CAPI_CLI_TENSOR_H_
#define SEQUENCE_LAYERS_CAPI_CLI_TENSOR_H_

#include <complex>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "sequence_layers/sequence_layers.h"

namespace sl::cli {

// A sequence [batch, time, channels...] with a mask [batch, time], or an array of any shape without
// one. Always contiguous, last axis fastest.
struct Tensor {
  sl_dtype dtype = SL_DTYPE_FLOAT32;
  std::vector<int64_t> dims;
  std::vector<uint8_t> bytes;
  std::vector<uint8_t> mask;
  bool is_array = false;

  int64_t batch() const { return dims[0]; }
  int64_t time() const { return dims[1]; }
  int64_t size() const;
  // Elements and bytes of one timestep.
  int64_t step_size() const;
  size_t step_bytes() const;

  bool valid(int64_t b, int64_t t) const;
  // Any dtype widened; the imaginary part of a real one is zero.
  std::complex<double> at(int64_t index) const;
  void set(int64_t index, std::complex<double> value);

  // A borrowed view for the C ABI: const_cast inside, for the ABI has one struct for both ways.
  sl_sequence view() const;
};

struct NamedTensor {
  std::string name;
  Tensor value;
};

bool is_floating(sl_dtype dtype);
bool is_half(sl_dtype dtype);
// Throws for an unknown name.
sl_dtype parse_dtype(const std::string& name);
std::string shape_text(const std::vector<int64_t>& dims);

// Zeros, all steps valid.
Tensor make_sequence(sl_dtype dtype, std::vector<int64_t> dims);
Tensor make_array(sl_dtype dtype, std::vector<int64_t> dims);
// Zeros of the dtype and dims that the ABI reported.
Tensor make_like(const sl_sequence& shape);
// A copy of a borrowed view.
Tensor copy_of(const sl_sequence& view);
sl_channel_spec channel_spec(const Tensor& x);

// Normal values (integers below max_int), each batch item some steps shorter than the one before.
Tensor random_sequence(sl_dtype dtype, std::vector<int64_t> dims, std::mt19937& rng,
                       int max_int = 4);

// Steps [begin, end); those past the tensor's end are invalid.
Tensor slice_time(const Tensor& x, int64_t begin, int64_t end);
Tensor concat_time(const std::vector<Tensor>& parts);
// Invalid steps replaced by the value.
Tensor fill_invalid(const Tensor& x, double value);
// One item of garbage before and after, all of whose steps are valid.
Tensor pad_batch_with_garbage(const Tensor& x);
Tensor strip_batch(const Tensor& x);

// The value that must not leak: NaN where the dtype has one, else the largest integer, or true.
double poison(sl_dtype dtype);

}  // namespace sl::cli

#endif  // SEQUENCE_LAYERS_CAPI_CLI_TENSOR_H_
