#include "cli/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace sl::cli {
namespace {

using testing::make_array;
using testing::shape_text;
using testing::Tensor;

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = size_t{1} << 20;
constexpr size_t kChunk = size_t{1} << 20;

// A type code, without byte order, and the dtype that it is converted to.
struct Type {
  std::string_view code;
  const char* name;
  sl_dtype dtype;
  bool exact;  // the file's bytes are already those of the dtype
};
constexpr Type kTypes[] = {
    {"f4", "float32", SL_DTYPE_FLOAT32, true},  {"i4", "int32", SL_DTYPE_INT32, true},
    {"b1", "bool", SL_DTYPE_BOOL, false},       {"c8", "complex64", SL_DTYPE_COMPLEX64, true},
    {"f2", "float16", SL_DTYPE_FLOAT16, true},  {"i1", "int8", SL_DTYPE_INT8, true},
    {"f8", "float64", SL_DTYPE_FLOAT32, false}, {"c16", "complex128", SL_DTYPE_COMPLEX64, false},
    {"i2", "int16", SL_DTYPE_INT32, false},     {"i8", "int64", SL_DTYPE_INT32, false},
    {"u1", "uint8", SL_DTYPE_INT32, false},     {"u2", "uint16", SL_DTYPE_INT32, false},
    {"u4", "uint32", SL_DTYPE_INT32, false},    {"u8", "uint64", SL_DTYPE_INT32, false},
};

struct Header {
  const Type* type = nullptr;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<int64_t> dims;

  size_t item() const { return std::stoul(std::string(type->code.substr(1))); }
  // Bytes of one real number: a complex element has two.
  size_t unit() const { return type->code[0] == 'c' ? item() / 2 : item(); }
};

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what); }

// Parses the Python dictionary of a header, which has exactly three keys.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  Header parse() {
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        once(has_descr_, key);
        descr();
      } else if (key == "fortran_order") {
        once(has_order_, key);
        header_.fortran_order = boolean();
      } else if (key == "shape") {
        once(has_shape_, key);
        shape();
      } else {
        refuse("its header has an unknown '" + key + "'");
      }
      if (!take(',') && peek() != '}') refuse("its header is not as NumPy writes it");
    }
    if (peek() != '\0' || !rest_.empty()) refuse("text follows the dictionary of its header");
    if (!has_descr_) refuse("its header has no 'descr'");
    if (!has_order_) refuse("its header has no 'fortran_order'");
    if (!has_shape_) refuse("its header has no 'shape'");
    return header_;
  }

 private:
  static void once(bool& there, const std::string& key) {
    if (there) refuse("its header has '" + key + "' twice");
    there = true;
  }

  // The next character that is no space, or zero at the end.
  char peek() {
    const size_t at = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(std::min(at, rest_.size()));
    return rest_.empty() ? '\0' : rest_.front();
  }
  bool take(char c) {
    if (rest_.empty() || peek() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) refuse(std::string("its header lacks a '") + c + "'");
  }
  bool take_word(std::string_view word) {
    peek();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse("its header is not as NumPy writes it");
    const size_t end = rest_.find(quote, 1);
    if (end == rest_.npos) refuse("its header is not as NumPy writes it");
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool boolean() {
    if (take_word("True")) return true;
    if (take_word("False")) return false;
    refuse("its 'fortran_order' is neither True nor False");
  }

  void descr() {
    if (peek() == '[') refuse("it is a structured array, which is not read");
    const std::string text = quoted();
    const std::string order = "<>=|";
    const size_t prefix = !text.empty() && order.find(text[0]) != order.npos ? 1 : 0;
    header_.big_endian =
        prefix == 1 &&
        (text[0] == '>' || (text[0] == '=' && std::endian::native == std::endian::big));
    const auto* type =
        std::ranges::find(kTypes, std::string_view(text).substr(prefix), &Type::code);
    if (type == std::end(kTypes)) refuse("its type '" + text + "' is not read: " + known_types());
    header_.type = type;
  }

  static std::string known_types() {
    std::string text = "expected one of";
    for (const Type& type : kTypes) text += std::string(&type == kTypes ? " " : ", ") + type.name;
    return text;
  }

  void shape() {
    expect('(');
    bool comma = true;
    while (!take(')')) {
      if (!comma) refuse("its shape is not as NumPy writes it");
      header_.dims.push_back(dim());
      comma = take(',');
    }
    if (header_.dims.size() == 1 && !comma) refuse("its shape is not as NumPy writes it");
    if (header_.dims.size() > SL_MAX_RANK) {
      refuse("it has " + std::to_string(header_.dims.size()) + " dimensions, more than " +
             std::to_string(SL_MAX_RANK));
    }
  }

  int64_t dim() {
    peek();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error == std::errc::result_out_of_range) refuse("its shape is too large");
    if (error != std::errc()) refuse("its shape is not as NumPy writes it");
    if (value < 0) refuse("its shape has a negative size, " + std::to_string(value));
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    // Python 2 writes sizes as long integers
    if (!rest_.empty() && rest_.front() == 'L') rest_.remove_prefix(1);
    return value;
  }

  std::string_view rest_;
  Header header_;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false;
};

// Reads up to `size` bytes. Memory grows with the contents of the file, not with the size that it
// claims.
std::string read_some(std::istream& file, size_t size) {
  std::string bytes;
  while (bytes.size() < size && file) {
    const size_t old = bytes.size();
    bytes.resize(old + std::min(std::max(kChunk, old), size - old));
    file.read(bytes.data() + old, static_cast<std::streamsize>(bytes.size() - old));
    bytes.resize(old + static_cast<size_t>(file.gcount()));
  }
  return bytes;
}

Header read_header(std::istream& file) {
  const std::string start = read_some(file, kMagic.size() + 2);
  if (start.size() < kMagic.size() + 2 || !start.starts_with(kMagic)) {
    refuse("it is not an .npy file");
  }
  const int version = static_cast<uint8_t>(start[kMagic.size()]);
  const int minor = static_cast<uint8_t>(start[kMagic.size() + 1]);
  if (version < 1 || version > 3 || minor != 0) {
    refuse("its format version " + std::to_string(version) + "." + std::to_string(minor) +
           " is not read");
  }
  const std::string length_bytes = read_some(file, version == 1 ? 2 : 4);
  size_t length = 0;
  for (size_t i = 0; i < length_bytes.size(); ++i) {
    length |= static_cast<size_t>(static_cast<uint8_t>(length_bytes[i])) << (8 * i);
  }
  if (length > kMaxHeader) refuse("its header has " + std::to_string(length) + " bytes");
  const std::string text = read_some(file, length);
  if (text.size() < length || length == 0) refuse("it ends within its header");
  return HeaderParser(text).parse();
}

// Size of the data. No partial product may overflow, even if another dimension is zero.
size_t data_bytes(const Header& header) {
  size_t bytes = std::max(header.item(), sizeof(float));
  for (const int64_t dim : header.dims) {
    const auto factor = static_cast<size_t>(std::max<int64_t>(dim, 1));
    if (__builtin_mul_overflow(bytes, factor, &bytes) || bytes > (size_t{1} << 50)) {
      refuse("its shape " + shape_text(header.dims) + " is too large");
    }
  }
  size_t count = 1;
  for (const int64_t dim : header.dims) count *= static_cast<size_t>(dim);
  return count * header.item();
}

// Positions in a C-ordered array, in the order in which the file stores the elements.
class Order {
 public:
  Order(const std::vector<int64_t>& dims, bool fortran)
      : dims_(dims), index_(dims.size()), strides_(dims.size()), fortran_(fortran) {
    int64_t stride = 1;
    for (size_t i = dims.size(); i-- > 0;) {
      strides_[i] = stride;
      stride *= dims[i];
    }
  }

  int64_t next() {
    const int64_t here = position_;
    if (!fortran_) {
      ++position_;
      return here;
    }
    for (size_t i = 0; i < dims_.size(); ++i) {
      position_ += strides_[i];
      if (++index_[i] < dims_[i]) break;
      position_ -= strides_[i] * dims_[i];
      index_[i] = 0;
    }
    return here;
  }

 private:
  const std::vector<int64_t>& dims_;
  std::vector<int64_t> index_, strides_;
  bool fortran_;
  int64_t position_ = 0;
};

template <typename T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

template <typename T>
int32_t to_int32(const char* bytes) {
  const T value = load<T>(bytes);
  if (!std::in_range<int32_t>(value)) {
    refuse("its value " + std::to_string(value) + " does not fit int32");
  }
  return static_cast<int32_t>(value);
}

double to_float32(double value) {
  const bool fits = !std::isfinite(value) || std::isfinite(static_cast<float>(value));
  if (!fits) refuse("its value " + std::to_string(value) + " does not fit float32");
  return value;
}

// The number stored in `bytes`, which are in native byte order.
std::complex<double> number(const Type& type, const char* bytes) {
  if (type.code == "b1") return *bytes != 0;
  if (type.code == "i2") return to_int32<int16_t>(bytes);
  if (type.code == "i8") return to_int32<int64_t>(bytes);
  if (type.code == "u1") return to_int32<uint8_t>(bytes);
  if (type.code == "u2") return to_int32<uint16_t>(bytes);
  if (type.code == "u4") return to_int32<uint32_t>(bytes);
  if (type.code == "u8") return to_int32<uint64_t>(bytes);
  const double real = to_float32(load<double>(bytes));
  return {real, type.code == "c16" ? to_float32(load<double>(bytes + sizeof(double))) : 0};
}

Tensor decode(const Header& header, std::string data) {
  const size_t item = header.item(), unit = header.unit();
  if (header.big_endian != (std::endian::native == std::endian::big)) {
    for (size_t i = 0; i < data.size(); i += unit) {
      std::reverse(data.data() + i, data.data() + i + unit);
    }
  }
  Tensor x = make_array(header.type->dtype, header.dims);
  Order order(x.dims, header.fortran_order);
  for (size_t i = 0; i < data.size(); i += item) {
    const int64_t to = order.next();
    if (header.type->exact) {
      std::memcpy(x.bytes.data() + static_cast<size_t>(to) * item, data.data() + i, item);
    } else {
      x.set(to, number(*header.type, data.data() + i));
    }
  }
  return x;
}

NpyArray parse(std::istream& file) {
  const Header header = read_header(file);
  const size_t size = data_bytes(header);
  std::string data = read_some(file, size);
  if (data.size() < size || file.peek() != std::istream::traits_type::eof()) {
    refuse("its data does not fill its shape " + shape_text(header.dims));
  }
  return {decode(header, std::move(data)), header.type->name};
}

Tensor widened(const Tensor& x) {
  Tensor y = make_array(SL_DTYPE_FLOAT32, x.dims);
  for (int64_t i = 0; i < x.size(); ++i) y.set(i, x.at(i));
  return y;
}

}  // namespace

NpyArray read_npy_array(std::istream& file, const std::string& name) {
  try {
    return parse(file);
  } catch (const std::exception& error) {
    throw std::runtime_error("cannot read " + name + ": " + error.what());
  }
}

NpyArray read_npy_array(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    throw std::runtime_error("cannot read " + path + ": it is a directory");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path + ": " + std::strerror(errno));
  return read_npy_array(file, path);
}

Tensor read_npy(const std::string& path) { return read_npy_array(path).values; }

void write_npy(const std::string& path, const Tensor& x) {
  if (x.dtype == SL_DTYPE_BFLOAT16) return write_npy(path, widened(x));
  std::string shape;
  for (const int64_t dim : x.dims) shape += std::to_string(dim) + ", ";
  // The first match needs no conversion.
  const Type* type = std::ranges::find(kTypes, x.dtype, &Type::dtype);
  const bool one_byte = sl_dtype_size(x.dtype) == 1;
  std::string header = std::string("{'descr': '") + (one_byte ? "|" : "<") +
                       std::string(type->code) + "', 'fortran_order': False, 'shape': (" + shape +
                       "), }";
  const size_t preamble = kMagic.size() + 4;
  header.append(63 - (preamble + header.size()) % 64, ' ');  // data begins at a multiple of 64
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file << kMagic;
  const char version_and_size[] = {1, 0, static_cast<char>(header.size() & 255),
                                   static_cast<char>(header.size() >> 8)};
  file.write(version_and_size, sizeof(version_and_size));
  file << header;
  file.write(reinterpret_cast<const char*>(x.bytes.data()),
             static_cast<std::streamsize>(x.bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace sl::cli
