// Host tensors with an optional mask, and operations on them that the contract needs.
#ifndef SEQUENCE_LAYERS_CAPI_TESTING_TENSOR_H_
#define SEQUENCE_LAYERS_CAPI_TESTING_TENSOR_H_

#include <complex>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "sequence_layers/sequence_layers.h"

namespace sl::testing {

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
  // The element widened from any dtype. The imaginary part of a real one is zero.
  std::complex<double> at(int64_t index) const;
  void set(int64_t index, std::complex<double> value);

  // A borrowed view for the C ABI. It casts const away, as the ABI has one struct for inputs and
  // outputs.
  sl_sequence view() const;
};

struct NamedTensor {
  std::string name;
  Tensor value;
};

bool is_floating(sl_dtype dtype);
bool is_half(sl_dtype dtype);

// The largest finite magnitude, or 0.
double largest_magnitude(const Tensor& x);
// Throws for an unknown name.
sl_dtype parse_dtype(const std::string& name);
std::string shape_text(const std::vector<int64_t>& dims);

// A zero-filled sequence with all steps valid.
Tensor make_sequence(sl_dtype dtype, std::vector<int64_t> dims);
Tensor make_array(sl_dtype dtype, std::vector<int64_t> dims);
// A zero-filled tensor with the dtype and dims of a shape that the ABI reported.
Tensor make_like(const sl_sequence& shape);
// A copy of a borrowed view.
Tensor copy_of(const sl_sequence& view);
sl_channel_spec channel_spec(const Tensor& x);

// Normally distributed values, or integers below max_int. Each batch item has fewer valid steps
// than the one before.
Tensor random_sequence(sl_dtype dtype, std::vector<int64_t> dims, std::mt19937& rng,
                       int max_int = 4);

// The steps [begin, end). Steps past the tensor's end are invalid.
Tensor slice_time(const Tensor& x, int64_t begin, int64_t end);
Tensor concat_time(const std::vector<Tensor>& parts);
Tensor concat_batch(const std::vector<Tensor>& parts);
// Batch items [first, first + count).
Tensor slice_batch(const Tensor& x, int64_t first, int64_t count);
// A copy with all invalid steps set to the value.
Tensor fill_invalid(const Tensor& x, double value);
// A copy with one more batch item at each end, whose steps hold garbage and are valid.
Tensor pad_batch_with_garbage(const Tensor& x);
Tensor strip_batch(const Tensor& x);

// A value that must not reach valid outputs: NaN, or else the largest integer, or true.
double poison(sl_dtype dtype);

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_CAPI_TESTING_TENSOR_H_
