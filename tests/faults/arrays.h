// Writes files for tests: models with metadata, arrays and sounds.
#ifndef SEQUENCE_LAYERS_TESTS_FAULTS_ARRAYS_H_
#define SEQUENCE_LAYERS_TESTS_FAULTS_ARRAYS_H_

#include <bit>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "faults/faults.h"

namespace sl::testing {

inline std::string write_file(const std::string& name, const std::string& bytes) {
  const std::string path = scratch_directory() + "/" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

template <typename T>
std::string bytes_of(std::vector<T> values, bool big_endian = false) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  for (size_t i = 0; big_endian && i < bytes.size(); i += sizeof(T))
    std::reverse(bytes.data() + i, bytes.data() + i + sizeof(T));
  return bytes;
}

// An .npy file. `fields` is the contents of the header's dictionary, such as "'descr': '<f4',
// 'fortran_order': False, 'shape': (3,), ".
inline std::string npy(const std::string& fields, const std::string& data, int version = 1) {
  const std::string header = "{" + fields + "}\n";
  std::string image = "\x93NUMPY";
  image += static_cast<char>(version);
  image += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    image += static_cast<char>(header.size() >> (8 * i) & 255);
  return image + header + data;
}

inline std::string npy(const std::string& descr, const std::string& shape,
                       const std::string& data) {
  return npy("'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", ", data);
}

// Writes a model directory. `metadata` is JSON; it is empty for a model without.
inline std::string make_model(const std::string& config, const std::string& metadata) {
  const std::string directory = scratch_directory();
  std::ofstream(directory + "/config.json") << config;
  if (metadata.empty()) return directory;
  const std::string header = "{\"__metadata__\":" + metadata + "}";
  const uint64_t size = header.size();
  std::ofstream file(directory + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  file << header;
  return directory;
}

struct WavSizes {
  uint32_t riff;
  uint32_t data;
};

// A mono WAV file with 16 bits at 16 kHz whose header has these sizes. `more` follows the samples.
inline std::string wav(const WavSizes& sizes, const std::vector<int16_t>& samples,
                       const std::string& more = "", bool big_endian = false) {
  const auto number = [&](auto value) { return bytes_of(std::vector{value}, big_endian); };
  const auto half = [&](int value) { return number(static_cast<uint16_t>(value)); };
  return (big_endian ? "RIFX" : "RIFF") + number(sizes.riff) + "WAVEfmt " + number(uint32_t{16}) +
         half(1) + half(1) + number(uint32_t{16000}) + number(uint32_t{32000}) + half(2) +
         half(16) + "data" + number(sizes.data) + bytes_of(samples, big_endian) + more;
}

}  // namespace sl::testing

#endif  // SEQUENCE_LAYERS_TESTS_FAULTS_ARRAYS_H_
