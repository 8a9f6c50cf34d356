// Any bytes as a saved state: refused, and the stream left as it was; or loaded, and stepped.
#include <cstdlib>
#include <cstring>

#include "cli/runner.h"
#include "fuzz/target.h"
#include "support/models.h"

namespace sl::fuzz {
namespace {

constexpr const char* kConfig =
    R"({"type":"Serial","layers":[{"type":"Conv1D","filters":2,"kernel_size":3,)"
    R"("padding":"causal_valid"},{"type":"Delay","length":2},{"type":"LSTM","units":2}]})";

// A stream that has run for a while; saves of it are the corpus.
struct Streams {
  Streams() : layer(testing::make_model(kConfig, 2)) {
    std::mt19937 rng(1);
    input.x = cli::random_sequence(SL_FLOAT32, {1, 6, 2}, rng);
    stepper = std::make_unique<cli::Stepper>(layer.get(), input);
    for (int64_t t = 0; t < 6; ++t) {
      stepper->run(t, t + 1);
      saves.push_back(stepper->save());
    }
  }
  cli::Layer layer;
  cli::Input input;
  std::unique_ptr<cli::Stepper> stepper;
  std::vector<std::vector<uint8_t>> saves;
};

Streams& streams() {
  static Streams all;
  return all;
}

}  // namespace

std::vector<std::string> corpus() {
  std::vector<std::string> all;
  for (const std::vector<uint8_t>& save : streams().saves) {
    all.emplace_back(save.begin(), save.end());
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
  auto& all = sl::fuzz::streams();
  // A copy of the exact size, so that a sanitizer sees every byte read beyond it.
  const std::vector<uint8_t> bytes(data, data + size);
  const uint8_t none = 0;
  const std::vector<uint8_t> before = all.stepper->save();
  const sl_status status =
      sl_state_load(all.stepper->state(), bytes.empty() ? &none : bytes.data(), size, nullptr);
  if (status == SL_OK) {
    all.stepper->run(0, 6);
  } else if (status != SL_ERROR_STATE || all.stepper->save() != before) {
    std::abort();
  }
  return 0;
}
