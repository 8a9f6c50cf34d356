// Reads arbitrary bytes as an .npy file: they must be refused with a reason, or give an array of
// the size that its shape implies.
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "cli/npy.h"
#include "fuzz/memory_file.h"
#include "fuzz/target.h"
#include "fuzz/tree.h"

namespace sl::fuzz {
namespace {

std::string npy(const std::string& type, bool fortran, const std::string& shape, size_t bytes) {
  std::string header = "{'descr': '" + type +
                       "', 'fortran_order': " + (fortran ? "True" : "False") +
                       ", 'shape': " + shape + ", }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\0", 8);
  file += static_cast<char>(header.size() & 255);
  file += static_cast<char>(header.size() >> 8);
  return file + header + std::string(bytes, '\x3f');
}

}  // namespace

std::vector<std::string> corpus() {
  std::vector<std::string> all = {
      npy("<f4", false, "(2, 3)", 24), npy(">f4", true, "(2, 3)", 24),
      npy("<f8", false, "(3,)", 24),   npy("<i8", false, "(2,)", 16),
      npy("<i2", false, "(4,)", 8),    npy("|u1", false, "(4, 0, 2)", 0),
      npy("<c8", false, "()", 8),      npy("|b1", false, "(1, 1)", 1)};
  append_tree_files(".npy", &all);
  return all;
}

std::vector<std::string> dictionary() {
  return {"'descr': ",
          "'fortran_order': ",
          "'shape': ",
          "True",
          "False",
          "(",
          ")",
          ", ",
          "<f4",
          ">f8",
          "|i1",
          "<u2",
          "<f2",
          ">c16",
          "-1",
          "0",
          "4294967296",
          "18446744073709551615",
          "9223372036854775807",
          std::string(8, '\xff')};
}

}  // namespace sl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const sl::fuzz::MemoryFile file(data, size);
  try {
    const sl::testing::Tensor x = sl::cli::read_npy(file.path());
    const auto bytes = static_cast<size_t>(x.size()) * sl_dtype_size(x.dtype);
    if (x.bytes.size() != bytes) std::abort();
  } catch (const std::runtime_error& error) {
    if (std::strlen(error.what()) == 0) std::abort();
  }
  return 0;
}
