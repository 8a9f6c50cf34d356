// Loads arbitrary bytes as a saved state: they must be refused without changing the stream, or give
// a state that can be stepped.
//
// An input is the index of a model, a kind, and bytes. For kind 0 the bytes are the state's data,
// to which a valid header and checksum are added, so that the data are read. For any other kind
// they are a whole saved state.
#include <cstdlib>

#include "fuzz/saved_states.h"
#include "fuzz/target.h"

namespace sl::fuzz {
namespace {

// The saved state that a fuzzer's input describes.
std::vector<uint8_t> save_of(const Stream& stream, const uint8_t* data, size_t size, bool whole) {
  // A copy of exact size, so that a sanitizer detects reads beyond the end.
  if (whole) return {data, data + size};
  std::vector<uint8_t> save = stream.saves.back();
  put_data(data, size, save);
  return save;
}

}  // namespace

std::vector<std::string> corpus() {
  std::vector<std::string> all;
  for (size_t i = 0; i < streams().size(); ++i) {
    for (const std::vector<uint8_t>& save : streams()[i]->saves) {
      all.push_back(std::string{static_cast<char>(i), 0} +
                    std::string(save.begin() + kHeaderBytes, save.end()));
    }
    const std::vector<uint8_t>& save = streams()[i]->saves.back();
    all.push_back(std::string{static_cast<char>(i), 1} + std::string(save.begin(), save.end()));
  }
  return all;
}

std::vector<std::string> dictionary() {
  return {
      std::string(1, '\0'),         std::string(8, '\0'),         std::string(8, '\xff'), "SLSTATE",
      std::string("\x01\0\0\0", 4), std::string("\0\0\0\x80", 4), std::string(64, '\x7f')};
}

}  // namespace sl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  auto& all = sl::fuzz::streams();
  sl::fuzz::Stream& stream = *all[data[0] % all.size()];
  const bool whole = data[1] != 0;
  const std::vector<uint8_t> save = sl::fuzz::save_of(stream, data + 2, size - 2, whole);
  const uint8_t none = 0;
  const std::vector<uint8_t> before = stream.stepper->save();
  const sl_status status = sl_state_load(stream.stepper->state().get(),
                                         save.empty() ? &none : save.data(), save.size(), nullptr);
  if (status == SL_STATUS_OK) {
    stream.stepper->run(0, stream.stepper->num_steps());
  } else if (status != SL_STATUS_STATE || stream.stepper->save() != before) {
    std::abort();
  }
  return 0;
}
