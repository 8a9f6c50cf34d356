// Streams whose saved states are fuzzed, and the form of saved states.
#ifndef SEQUENCE_LAYERS_TESTS_FUZZ_SAVED_STATES_H_
#define SEQUENCE_LAYERS_TESTS_FUZZ_SAVED_STATES_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "support/models.h"
#include "testing/runner.h"

namespace sl::fuzz {

// A save begins with magic (8 bytes), version and header size (4 each), fingerprints of the stream
// and of the model, sizes of the data and of the options, and their FNV-1a checksum (8 each).
inline constexpr size_t kHeaderBytes = 56, kChecksumAt = 48;

inline uint64_t fnv1a(const uint8_t* data, size_t size) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ data[i]) * 1099511628211u;
  return hash;
}

// Models with kinds of state that the samples do not have.
inline const testing::Sample kMore[] = {
    {"attention",
     R"({"type":"DotProductSelfAttention","num_heads":2,"units_per_head":2,"max_past_horizon":3,)"
     R"("max_future_horizon":1})",
     SL_DTYPE_FLOAT32,
     {4}},
    {"rglru", R"({"type":"RGLRU","units":4,"num_heads":2})", SL_DTYPE_FLOAT32, {4}},
    {"overlap add",
     R"({"type":"Serial","layers":[{"type":"STFT","frame_length":4,"frame_step":2,"fft_length":4,)"
     R"("time_padding":"causal"},{"type":"InverseSTFT","frame_length":4,"frame_step":2,)"
     R"("fft_length":4,"time_padding":"causal"}]})",
     SL_DTYPE_FLOAT32,
     {}},
    {"transposed convolution",
     R"({"type":"Conv1DTranspose","filters":2,"kernel_size":4,"strides":2,"padding":"causal"})",
     SL_DTYPE_FLOAT32,
     {2}},
    {"timing signal",
     R"({"type":"Serial","layers":[{"type":"AddTimingSignal"},{"type":"Downsample1D","rate":2}]})",
     SL_DTYPE_FLOAT32,
     {4}},
    {"pooling",
     R"({"type":"MaxPooling1D","pool_size":3,"strides":1,"padding":"reverse_causal"})",
     SL_DTYPE_FLOAT32,
     {2}},
    {"recurrent cell",
     R"({"type":"RNN","cell":{"type":"GRUCell","features":3}})",
     SL_DTYPE_FLOAT32,
     {3}},
};

// A stream that has run for some steps. Its saved states are the corpus.
struct Stream {
  explicit Stream(const testing::Sample& sample) : layer(testing::make_sample(sample)) {
    std::mt19937 rng(1);
    std::vector<int64_t> dims = {2, 8};
    dims.insert(dims.end(), sample.channels.begin(), sample.channels.end());
    input.x = testing::random_sequence(sample.dtype, dims, rng);
    stepper = std::make_unique<testing::Stepper>(layer, input);
    for (int64_t t = 0; t < stepper->num_steps(); ++t) {
      stepper->run(t, t + 1);
      saves.push_back(stepper->save());
    }
  }
  testing::Layer layer;
  testing::Input input;
  std::unique_ptr<testing::Stepper> stepper;
  std::vector<std::vector<uint8_t>> saves;
};

inline std::vector<std::unique_ptr<Stream>>& streams() {
  static std::vector<std::unique_ptr<Stream>> all;
  if (!all.empty()) return all;
  for (const testing::Sample& sample : testing::samples())
    all.push_back(std::make_unique<Stream>(sample));
  for (const testing::Sample& sample : kMore) all.push_back(std::make_unique<Stream>(sample));
  return all;
}

// Replaces data of a saved state, and puts its checksum right, so that the data are read.
inline void put_data(const uint8_t* data, size_t size, std::span<uint8_t> save) {
  std::copy_n(data, std::min(size, save.size() - kHeaderBytes), save.data() + kHeaderBytes);
  const uint64_t checksum = fnv1a(save.data() + kHeaderBytes, save.size() - kHeaderBytes);
  std::memcpy(save.data() + kChecksumAt, &checksum, sizeof(checksum));
}

}  // namespace sl::fuzz

#endif  // SEQUENCE_LAYERS_TESTS_FUZZ_SAVED_STATES_H_
