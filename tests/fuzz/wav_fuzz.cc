// Reads arbitrary bytes as a WAV file: they must be refused with a reason, or give samples at a
// plausible rate. Other formats are left to libsndfile, which is fuzzed by its own project.
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "cli/audio.h"
#include "fuzz/memory_file.h"
#include "fuzz/target.h"
#include "fuzz/tree.h"

namespace sl::fuzz {
namespace {

template <typename T>
void put(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// `data_size` is the size in the header, which a recorder leaves at 0 while it records.
std::string wav(uint16_t format, uint16_t channels, uint16_t bits, uint32_t data_size) {
  constexpr uint32_t kRate = 16000, kBytes = 64;
  const auto frame = static_cast<uint16_t>(channels * bits / 8);
  std::string out = "RIFF";
  put<uint32_t>(&out, data_size == 0 ? 0 : 36 + data_size);
  out += "WAVEfmt ";
  put<uint32_t>(&out, 16);
  put(&out, format);
  put(&out, channels);
  put<uint32_t>(&out, kRate);
  put<uint32_t>(&out, kRate * frame);
  put(&out, frame);
  put(&out, bits);
  out += "data";
  put(&out, data_size);
  return out + std::string(kBytes, '\x11');
}

}  // namespace

std::vector<std::string> corpus() {
  std::vector<std::string> all = {wav(1, 1, 16, 64),         wav(1, 2, 16, 64), wav(1, 1, 24, 63),
                                  wav(3, 1, 32, 64),         wav(1, 1, 8, 64),  wav(1, 1, 16, 0),
                                  wav(1, 1, 16, 0xffffffff), wav(6, 1, 8, 64),  wav(7, 1, 8, 64)};
  append_tree_files(".wav", &all);
  return all;
}

std::vector<std::string> dictionary() {
  return {"RIFF",
          "RIFX",
          "RF64",
          "WAVE",
          "fmt ",
          "data",
          "fact",
          "LIST",
          "ds64",
          std::string("\xfe\xff", 2),
          std::string(4, '\0'),
          std::string(4, '\xff')};
}

}  // namespace sl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 12 || std::memcmp(data + 8, "WAVE", 4) != 0) return 0;
  const sl::fuzz::MemoryFile file(data, size);
  try {
    const sl::cli::Audio audio = sl::cli::read_audio(file.path());
    if (audio.samples.empty() || !(audio.sample_rate > 0)) std::abort();
  } catch (const std::runtime_error& error) {
    if (std::strlen(error.what()) == 0) std::abort();
  }
  return 0;
}
