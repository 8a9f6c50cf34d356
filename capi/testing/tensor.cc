#include "testing/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace sl::testing {
namespace {

int64_t product(const std::vector<int64_t>& dims, size_t from) {
  int64_t n = 1;
  for (size_t i = from; i < dims.size(); ++i) n *= dims[i];
  return n;
}

float from_bfloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (std::isnan(value)) return 0x7fc0;
  bits += 0x7fff + ((bits >> 16) & 1);  // rounds to nearest, ties to even
  return static_cast<uint16_t>(bits >> 16);
}

double from_float16(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
  if (exponent == 31) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024, exponent - 25);
}

uint16_t to_float16(double value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return 0x7e00;
  if (magnitude >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00);
  // The unit in the last place is 2^-24 for subnormals and 2^(e-10) above. nearbyint rounds ties to
  // even, and a carry into the exponent gives the right value.
  const int exponent = std::max(-14, magnitude == 0 ? -14 : std::ilogb(magnitude));
  const double units = std::nearbyint(std::ldexp(magnitude, 10 - exponent));
  const int biased = exponent + 14;
  return static_cast<uint16_t>(sign | (biased * 1024 + static_cast<int>(units)));
}

template <typename T>
T load(const Tensor& x, int64_t index) {
  T value;
  std::memcpy(&value, x.bytes.data() + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void store(Tensor& x, int64_t index, T value) {
  std::memcpy(x.bytes.data() + static_cast<size_t>(index) * sizeof(T), &value, sizeof(T));
}

template <typename T>
T saturate(double value) {
  if (std::isnan(value)) return std::numeric_limits<T>::max();
  return static_cast<T>(std::clamp(value, static_cast<double>(std::numeric_limits<T>::min()),
                                   static_cast<double>(std::numeric_limits<T>::max())));
}

Tensor zeros(sl_dtype dtype, std::vector<int64_t> dims) {
  Tensor x;
  x.dtype = dtype;
  x.dims = std::move(dims);
  x.bytes.resize(static_cast<size_t>(x.size()) * sl_dtype_size(dtype));
  return x;
}

std::vector<int64_t> with_dim(std::vector<int64_t> dims, size_t axis, int64_t value) {
  dims[axis] = value;
  return dims;
}

// Copies step `from` of x to step `to` of y. Their steps have equal sizes.
void copy_step(const Tensor& x, int64_t from, Tensor& y, int64_t to) {
  const size_t n = x.step_bytes();
  std::copy_n(x.bytes.begin() + from * static_cast<int64_t>(n), n,
              y.bytes.begin() + to * static_cast<int64_t>(n));
}

void copy_strided(const sl_sequence& view, int axis, const uint8_t* from, Tensor& x,
                  size_t& position) {
  const size_t element = sl_dtype_size(view.dtype);
  if (axis == view.rank) {
    std::memcpy(x.bytes.data() + position, from, element);
    position += element;
    return;
  }
  for (int64_t i = 0; i < view.dims[axis]; ++i) {
    copy_strided(view, axis + 1, from + i * view.strides[axis], x, position);
  }
}

}  // namespace

int64_t Tensor::size() const { return product(dims, 0); }
int64_t Tensor::step_size() const { return product(dims, 2); }
size_t Tensor::step_bytes() const {
  return static_cast<size_t>(step_size()) * sl_dtype_size(dtype);
}

bool Tensor::valid(int64_t b, int64_t t) const {
  return mask.empty() || mask[static_cast<size_t>(b * dims[1] + t)] != 0;
}

std::complex<double> Tensor::at(int64_t index) const {
  switch (dtype) {
    case SL_DTYPE_FLOAT32:
      return load<float>(*this, index);
    case SL_DTYPE_INT32:
      return load<int32_t>(*this, index);
    case SL_DTYPE_COMPLEX64: {
      const auto value = load<std::complex<float>>(*this, index);
      return {value.real(), value.imag()};
    }
    case SL_DTYPE_BFLOAT16:
      return from_bfloat16(load<uint16_t>(*this, index));
    case SL_DTYPE_FLOAT16:
      return from_float16(load<uint16_t>(*this, index));
    case SL_DTYPE_INT8:
      return load<int8_t>(*this, index);
    default:
      return load<uint8_t>(*this, index);
  }
}

void Tensor::set(int64_t index, std::complex<double> value) {
  switch (dtype) {
    case SL_DTYPE_FLOAT32:
      return store(*this, index, static_cast<float>(value.real()));
    case SL_DTYPE_INT32:
      return store(*this, index, saturate<int32_t>(value.real()));
    case SL_DTYPE_COMPLEX64:
      return store(
          *this, index,
          std::complex<float>(static_cast<float>(value.real()), static_cast<float>(value.imag())));
    case SL_DTYPE_BFLOAT16:
      return store(*this, index, to_bfloat16(static_cast<float>(value.real())));
    case SL_DTYPE_FLOAT16:
      return store(*this, index, to_float16(value.real()));
    case SL_DTYPE_INT8:
      return store(*this, index, saturate<int8_t>(value.real()));
    default:
      return store<uint8_t>(*this, index, value.real() != 0);
  }
}

sl_sequence Tensor::view() const {
  sl_sequence out = SL_SEQUENCE_INIT;
  out.dtype = dtype;
  out.rank = static_cast<int32_t>(dims.size());
  out.is_array = is_array ? 1 : 0;
  std::copy(dims.begin(), dims.end(), out.dims);
  out.data = const_cast<uint8_t*>(bytes.data());
  out.mask = mask.empty() ? nullptr : const_cast<uint8_t*>(mask.data());
  return out;
}

bool is_floating(sl_dtype dtype) {
  return dtype == SL_DTYPE_FLOAT32 || dtype == SL_DTYPE_COMPLEX64 || is_half(dtype);
}

bool is_half(sl_dtype dtype) { return dtype == SL_DTYPE_BFLOAT16 || dtype == SL_DTYPE_FLOAT16; }

sl_dtype parse_dtype(const std::string& name) {
  std::string known;
  for (sl_dtype dtype = 0; sl_dtype_name(dtype) != nullptr; ++dtype) {
    if (name == sl_dtype_name(dtype)) return dtype;
    known += std::string(known.empty() ? "" : ", ") + sl_dtype_name(dtype);
  }
  throw std::invalid_argument("unknown dtype '" + name + "', expected one of " + known);
}

double largest_magnitude(const Tensor& x) {
  double largest = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const double value = std::abs(x.at(i));
    if (std::isfinite(value)) largest = std::max(largest, value);
  }
  return largest;
}

std::string shape_text(const std::vector<int64_t>& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    text += (i != 0 ? ", " : "") + std::to_string(dims[i]);
  }
  return text + "]";
}

Tensor make_sequence(sl_dtype dtype, std::vector<int64_t> dims) {
  if (dims.size() < 2) {
    throw std::invalid_argument("a sequence has at least batch and time, but the shape is " +
                                shape_text(dims));
  }
  Tensor x = zeros(dtype, std::move(dims));
  // At least one byte, so that the mask pointer of an empty sequence is not null.
  x.mask.reserve(1);
  x.mask.assign(static_cast<size_t>(x.batch() * x.time()), 1);
  return x;
}

Tensor make_array(sl_dtype dtype, std::vector<int64_t> dims) {
  Tensor x = zeros(dtype, std::move(dims));
  x.is_array = true;
  return x;
}

Tensor make_like(const sl_sequence& shape) {
  std::vector<int64_t> dims(shape.dims, shape.dims + shape.rank);
  return shape.is_array != 0 ? make_array(shape.dtype, std::move(dims))
                             : make_sequence(shape.dtype, std::move(dims));
}

Tensor copy_of(const sl_sequence& view) {
  Tensor x = make_array(view.dtype, {view.dims, view.dims + view.rank});
  if (x.bytes.empty()) return x;
  const bool contiguous =
      std::all_of(view.strides, view.strides + view.rank, [](int64_t s) { return s == 0; });
  if (contiguous) {
    std::memcpy(x.bytes.data(), view.data, x.bytes.size());
  } else {
    size_t position = 0;
    copy_strided(view, 0, static_cast<const uint8_t*>(view.data), x, position);
  }
  return x;
}

sl_channel_spec channel_spec(const Tensor& x) {
  if (x.dims.size() < 2 || x.dims.size() > SL_MAX_RANK) {
    throw std::invalid_argument("not the shape of a sequence: " + shape_text(x.dims));
  }
  sl_channel_spec spec = SL_CHANNEL_SPEC_INIT;
  spec.dtype = x.dtype;
  spec.rank = static_cast<int32_t>(x.dims.size()) - 2;
  std::copy(x.dims.begin() + 2, x.dims.end(), spec.dims);
  return spec;
}

Tensor random_sequence(sl_dtype dtype, std::vector<int64_t> dims, std::mt19937& rng, int max_int) {
  Tensor x = make_sequence(dtype, std::move(dims));
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int> integer(0,
                                             dtype == SL_DTYPE_BOOL ? 1 : std::max(1, max_int) - 1);
  for (int64_t i = 0; i < x.size(); ++i) {
    if (is_floating(dtype)) {
      const double real = normal(rng);
      x.set(i, {real, dtype == SL_DTYPE_COMPLEX64 ? normal(rng) : 0.0});
    } else {
      x.set(i, integer(rng));
    }
  }
  for (int64_t b = 0; b < x.batch(); ++b) {
    const int64_t length = std::max<int64_t>(1, x.time() - 3 * b);
    for (int64_t t = length; t < x.time(); ++t) x.mask[static_cast<size_t>(b * x.time() + t)] = 0;
  }
  return fill_invalid(x, 0);
}

Tensor slice_time(const Tensor& x, int64_t begin, int64_t end) {
  Tensor y = make_sequence(x.dtype, with_dim(x.dims, 1, end - begin));
  for (int64_t b = 0; b < x.batch(); ++b) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t to = b * y.time() + t - begin;
      const bool inside = t < x.time();
      y.mask[static_cast<size_t>(to)] = inside && x.valid(b, t) ? 1 : 0;
      if (inside) copy_step(x, b * x.time() + t, y, to);
    }
  }
  return y;
}

Tensor concat_time(const std::vector<Tensor>& parts) {
  int64_t time = 0;
  for (const Tensor& part : parts) time += part.time();
  Tensor y = make_sequence(parts.at(0).dtype, with_dim(parts[0].dims, 1, time));
  int64_t offset = 0;
  for (const Tensor& part : parts) {
    for (int64_t b = 0; b < part.batch(); ++b) {
      for (int64_t t = 0; t < part.time(); ++t) {
        const int64_t to = b * time + offset + t;
        y.mask[static_cast<size_t>(to)] = part.valid(b, t) ? 1 : 0;
        copy_step(part, b * part.time() + t, y, to);
      }
    }
    offset += part.time();
  }
  y.is_array = parts[0].is_array;
  if (y.is_array) y.mask.clear();
  return y;
}

Tensor concat_batch(const std::vector<Tensor>& parts) {
  Tensor y = parts.at(0);
  for (size_t i = 1; i < parts.size(); ++i) {
    const Tensor& part = parts[i];
    y.dims[0] += part.dims[0];
    y.bytes.insert(y.bytes.end(), part.bytes.begin(), part.bytes.end());
    y.mask.insert(y.mask.end(), part.mask.begin(), part.mask.end());
  }
  return y;
}

Tensor slice_batch(const Tensor& x, int64_t first, int64_t count) {
  Tensor out = x;
  out.dims[0] = count;
  const auto part = [&](const std::vector<uint8_t>& all) {
    const auto item = static_cast<std::ptrdiff_t>(all.size()) / std::max<int64_t>(x.batch(), 1);
    return std::vector<uint8_t>(all.begin() + first * item, all.begin() + (first + count) * item);
  };
  out.bytes = part(x.bytes);
  out.mask = part(x.mask);
  return out;
}

Tensor fill_invalid(const Tensor& x, double value) {
  Tensor y = x;
  if (y.is_array || y.mask.empty()) return y;
  const int64_t n = y.step_size();
  for (int64_t step = 0; step < y.batch() * y.time(); ++step) {
    if (y.mask[static_cast<size_t>(step)] != 0) continue;
    // Both parts of a complex number are poisoned, so that a leak of either is seen.
    const std::complex<double> filler(value, std::isnan(value) ? value : 0.0);
    for (int64_t i = 0; i < n; ++i) y.set(step * n + i, filler);
  }
  return y;
}

Tensor pad_batch_with_garbage(const Tensor& x) {
  Tensor y = zeros(x.dtype, with_dim(x.dims, 0, x.batch() + 2));
  y.is_array = x.is_array;
  const double garbage = poison(x.dtype);
  for (int64_t i = 0; i < y.size(); ++i) y.set(i, {garbage, garbage});
  const int64_t item = y.size() / y.batch();
  std::copy(x.bytes.begin(), x.bytes.end(),
            y.bytes.begin() + item * static_cast<int64_t>(sl_dtype_size(x.dtype)));
  if (x.is_array) return y;
  y.mask.assign(static_cast<size_t>(y.batch() * y.time()), 1);
  std::copy(x.mask.begin(), x.mask.end(), y.mask.begin() + y.time());
  return y;
}

Tensor strip_batch(const Tensor& x) {
  Tensor y = make_sequence(x.dtype, with_dim(x.dims, 0, x.batch() - 2));
  const auto skip = static_cast<int64_t>(x.step_bytes()) * x.time();
  std::copy_n(x.bytes.begin() + skip, y.bytes.size(), y.bytes.begin());
  std::copy_n(x.mask.begin() + x.time(), y.mask.size(), y.mask.begin());
  return y;
}

double poison(sl_dtype dtype) {
  switch (dtype) {
    case SL_DTYPE_BOOL:
      return 1;
    case SL_DTYPE_INT8:
      return std::numeric_limits<int8_t>::max();
    case SL_DTYPE_INT32:
      return std::numeric_limits<int32_t>::max();
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

}  // namespace sl::testing
