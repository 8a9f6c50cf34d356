#include "cli/npy.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <stdexcept>

#include "cli/model.h"

namespace sl::cli {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;

struct Type {
  const char* text;
  sl_dtype dtype;
};
constexpr Type kTypes[] = {{"<f4", SL_FLOAT32},   {"<i4", SL_INT32},   {"|b1", SL_BOOL},
                           {"<c8", SL_COMPLEX64}, {"<f2", SL_FLOAT16}, {"|i1", SL_INT8}};

// The text after `'key':` in the header's dictionary.
std::string field(const std::string& header, const std::string& key) {
  const size_t at = header.find("'" + key + "'");
  const size_t colon = at == std::string::npos ? at : header.find(':', at);
  if (colon == std::string::npos) throw std::runtime_error("its header has no '" + key + "'");
  return header.substr(header.find_first_not_of(' ', colon + 1));
}

std::vector<int64_t> shape_of(const std::string& header) {
  const std::string text = field(header, "shape");
  std::vector<int64_t> dims;
  int64_t total = 1;
  for (size_t i = 1; i < text.size() && text[i] != ')';) {
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    size_t digits = 0;
    const int64_t dim = std::stoll(text.substr(i), &digits);
    if (dim > 0 && total > std::numeric_limits<int64_t>::max() / 16 / dim) {
      throw std::runtime_error("its shape is too large");
    }
    total *= std::max<int64_t>(dim, 1);
    dims.push_back(dim);
    i += digits;
  }
  return dims;
}

template <typename From>
Tensor narrow(sl_dtype dtype, std::vector<int64_t> dims, const char* data, size_t size) {
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  if (size != static_cast<size_t>(count) * sizeof(From)) {
    throw std::runtime_error("its data does not fill its shape " + shape_text(dims));
  }
  Tensor x = make_array(dtype, std::move(dims));
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, data + static_cast<size_t>(i) * sizeof(From), sizeof(From));
    x.set(i, static_cast<double>(value));
  }
  return x;
}

Tensor parse(const std::string& file) {
  if (file.size() < kMagicSize + 6 || std::memcmp(file.data(), kMagic, kMagicSize) != 0) {
    throw std::runtime_error("it is not an .npy file");
  }
  const bool first = file[kMagicSize] == 1;
  const size_t length_bytes = first ? 2 : 4;
  size_t start = kMagicSize + 2 + length_bytes, length = 0;
  for (size_t i = 0; i < length_bytes; ++i) {
    length |= static_cast<size_t>(static_cast<uint8_t>(file[kMagicSize + 2 + i])) << (8 * i);
  }
  if (length > file.size() - start) throw std::runtime_error("it ends within its header");
  const std::string header = file.substr(start, length);
  if (field(header, "fortran_order").starts_with("True")) {
    throw std::runtime_error("it is in Fortran order: save it with np.ascontiguousarray");
  }
  const std::string type = field(header, "descr").substr(1, 3);
  std::vector<int64_t> dims = shape_of(header);
  const char* data = file.data() + start + length;
  const size_t size = file.size() - start - length;
  if (type == "<f8") return narrow<double>(SL_FLOAT32, std::move(dims), data, size);
  if (type == "<i8") return narrow<int64_t>(SL_INT32, std::move(dims), data, size);
  for (const Type& known : kTypes) {
    if (type != known.text) continue;
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    if (size != static_cast<size_t>(count) * sl_dtype_size(known.dtype)) {
      throw std::runtime_error("its data does not fill its shape " + shape_text(dims));
    }
    Tensor x = make_array(known.dtype, std::move(dims));
    std::copy_n(reinterpret_cast<const uint8_t*>(data), size, x.bytes.begin());
    return x;
  }
  throw std::runtime_error("its type '" + type + "' is not one of f4, i4, b1, c8, f2, i1, f8, i8");
}

Tensor widened(const Tensor& x) {
  Tensor y = make_array(SL_FLOAT32, x.dims);
  for (int64_t i = 0; i < x.size(); ++i) y.set(i, x.at(i));
  return y;
}

}  // namespace

Tensor read_npy(const std::string& path) {
  const std::string file = read_file(path);
  try {
    return parse(file);
  } catch (const std::exception& error) {
    throw std::runtime_error("cannot read " + path + ": " + error.what());
  }
}

void write_npy(const std::string& path, const Tensor& x) {
  if (x.dtype == SL_BFLOAT16) return write_npy(path, widened(x));
  std::string shape;
  for (const int64_t dim : x.dims) shape += std::to_string(dim) + ", ";
  const Type* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const Type& known) { return known.dtype == x.dtype; });
  std::string header = std::string("{'descr': '") + type->text +
                       "', 'fortran_order': False, 'shape': (" + shape + "), }";
  const size_t preamble = kMagicSize + 4;
  header.append(63 - (preamble + header.size()) % 64, ' ');  // data begins at a multiple of 64
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file.write(kMagic, kMagicSize);
  const char version_and_size[] = {1, 0, static_cast<char>(header.size() & 255),
                                   static_cast<char>(header.size() >> 8)};
  file.write(version_and_size, sizeof(version_and_size));
  file << header;
  file.write(reinterpret_cast<const char*>(x.bytes.data()),
             static_cast<std::streamsize>(x.bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace sl::cli
